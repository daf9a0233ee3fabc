// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Which capability checks show a need of the workload itself.
 *
 * Every way in to the kernel's checks (tp_btf/cap_capable, fexit programs, a kprobe)
 * ends in on_check() of check.h. Sets are aggregated here, in counters per
 * scope, phase and capability, so that load cannot lose one; what crosses to
 * user space as events is only a hint to read an executable's file capabilities
 * soon. ARCHITECTURE.md says which checks count; docs/limits.md what is unseen.
 */
#include "check.h"
#include "identity.h"
#include "kprobe.h"
#include "silent.h"

/* The kernel knows no name for "GPL-2.0 OR Apache-2.0" (include/linux/license.h). */
char LICENSE[] SEC("license") = "GPL";

/* ---- the ways in ---- */

/* since 6.14: include/trace/events/capability.h */
SEC("tp_btf/cap_capable")
int BPF_PROG(check_tp, const struct cred *cred, struct user_namespace *target_ns,
	     const struct user_namespace *capable_ns, int cap, int ret)
{
	return on_check(ctx, cred, target_ns, cap, ret);
}

/* The verdict of all LSMs (security/security.c), where there are trampolines. */
SEC("fexit/security_capable")
int BPF_PROG(check_fexit_security, const struct cred *cred, struct user_namespace *ns, int cap,
	     unsigned int opts, int ret)
{
	return on_check(ctx, cred, ns, cap, ret);
}

SEC("fexit/cap_capable")
int BPF_PROG(check_fexit_cap, const struct cred *cred, struct user_namespace *ns, int cap,
	     unsigned int opts, int ret)
{
	return on_check(ctx, cred, ns, cap, ret);
}

/* The parameter after the capability differs (audit, then opts since 5.1) and is not read. */
SEC("kprobe/cap_capable")
int check_kprobe(struct pt_regs *ctx)
{
	const struct cred *cred = (const struct cred *)PARAM1(ctx);
	struct user_namespace *ns = (struct user_namespace *)PARAM2(ctx);
	__u64 cg = own_scope();

	if (!bpf_map_lookup_elem(&scopes, &cg))
		return 0;
	return on_check(ctx, cred, ns, PARAM3(ctx), verdict_of(cred, ns, PARAM3(ctx)));
}

/* What commoncap asks itself, for the ways in that do not see it. */
SEC("fentry/cap_capset")
int BPF_PROG(own_capset_fentry)
{
	return ask_own(ctx);
}

SEC("fentry/cap_task_prctl")
int BPF_PROG(own_prctl_fentry)
{
	return ask_own(ctx);
}

SEC("kprobe/cap_capset")
int own_capset_kprobe(void *ctx)
{
	return ask_own(ctx);
}

SEC("kprobe/cap_task_prctl")
int own_prctl_kprobe(void *ctx)
{
	return ask_own(ctx);
}

/* ---- scopes come and go ---- */

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_cgroup_mkdir, struct cgroup *cgrp, const char *path)
{
	struct scratch *s = scratch(SLOT_CGROUP);
	struct scope *up;
	__u64 id, parent = 0;

	if (!s || !our_hierarchy(cgrp))
		return 0;
	clear(&s->scope, sizeof(s->scope));
	id = READ(cgrp, kn, id);
	parent = READ(cgrp, self.parent, cgroup, kn, id);
	s->scope.parent = parent;
	s->scope.level = READ(cgrp, level);
	s->scope.port_start = -1;
	s->scope.born = 1;
	bpf_probe_read_kernel_str(s->scope.name, NAME_LEN, READ(cgrp, kn, name));
	up = bpf_map_lookup_elem(&scopes, &parent);
	if (up) {
		__u32 phase = phase_of(parent);

		s->scope.userns = up->userns;
		s->scope.userns_inum = up->userns_inum;
		if (phase)
			bpf_map_update_elem(&phases, &id, &phase, BPF_ANY);
	}
	if (bpf_map_update_elem(&scopes, &id, &s->scope, BPF_ANY))
		lose(LOST_SCOPES);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(on_cgroup_rmdir, struct cgroup *cgrp, const char *path)
{
	struct scope *scope;
	__u64 id;

	if (!our_hierarchy(cgrp))
		return 0;
	id = READ(cgrp, kn, id);
	scope = bpf_map_lookup_elem(&scopes, &id);
	if (scope)
		scope->dead = 1;
	return 0;
}

/*
 * A process comes into a scope from outside: the runtime, until proven
 * otherwise. Or the workload arranges its own cgroups, or leaves them.
 */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_cgroup_attach, struct cgroup *dst, const char *path, struct task_struct *task, bool threadgroup)
{
	struct task mark = { .state = TASK_SETUP };
	struct task *t;
	__u32 tgid;

	if (!our_hierarchy(dst))
		return 0;
	mark.scope = READ(dst, kn, id);
	tgid = READ(task, tgid);
	t = bpf_map_lookup_elem(&tasks, &tgid);
	if (t && t->state == TASK_WORKLOAD)
		check_home(mark.scope, t->home);
	if (!bpf_map_lookup_elem(&scopes, &mark.scope))
		return 0;
	if (t && t->state == TASK_WORKLOAD) {
		t->scope = mark.scope;
		return 0;
	}
	set_mark(tgid, &mark);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tid = READ(child, pid);
	struct task mark = {};
	struct task *t;
	__u64 cg;

	t = mark_of(READ(parent, pid), READ(parent, tgid));
	if (t) {
		mark = *t;
		mark.granted = mark.denied = mark.beyond = 0;
		cg = scope_of(child);
		if (mark.scope != cg) { /* CLONE_INTO_CGROUP */
			mark.scope = cg;
			if (mark.state != TASK_WORKLOAD)
				mark.state = TASK_SETUP;
			else if (cg != scope_of(parent))
				check_home(cg, mark.home);
		}
		set_mark(tid, &mark);
		return 0;
	}
	cg = scope_of(child);
	if (cg != scope_of(parent) && bpf_map_lookup_elem(&scopes, &cg)) {
		mark.scope = cg;
		mark.state = TASK_SETUP;
		set_mark(tid, &mark);
	}
	return 0;
}

/* What the runtime's last steps asked for with the container's own credentials. */
static __always_inline void commit_launch(struct task *t)
{
	struct totals *sum;

	if (!(t->granted | t->denied | t->beyond))
		return;
	sum = totals_of(t->scope, phase_of(t->scope));
	if (sum) {
		count_set(sum, KIND_GRANTED, t->granted);
		count_set(sum, KIND_DENIED, t->denied);
		count_set(sum, KIND_BEYOND, t->beyond);
	}
	t->granted = t->denied = t->beyond = 0;
}

/* ---- exec and exit ---- */

/* Of an inode's last change: setcap(8) changes it too. */
static __always_inline __u32 stamp_of(struct inode *inode)
{
	__u64 sec = 0;
	__u32 nsec = 0;

	if (bpf_core_field_exists(((struct inode___new *)0)->i_ctime_sec)) {
		sec = READ((struct inode___new *)inode, i_ctime_sec);
		nsec = READ((struct inode___new *)inode, i_ctime_nsec) & 0x7fffffff; /* without I_CTIME_QUERIED */
	} else if (bpf_core_field_exists(((struct inode___mid *)0)->__i_ctime)) {
		sec = READ((struct inode___mid *)inode, __i_ctime.tv_sec);
		nsec = READ((struct inode___mid *)inode, __i_ctime.tv_nsec);
	} else if (bpf_core_field_exists(((struct inode___old *)0)->i_ctime)) {
		sec = READ((struct inode___old *)inode, i_ctime.tv_sec);
		nsec = READ((struct inode___old *)inode, i_ctime.tv_nsec);
	}
	return (__u32)sec * 1000003 ^ nsec;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 tid = READ(task, pid), old = old_pid;
	struct exe_key key = {};
	struct task mark = {};
	struct inode *inode;
	struct exec_event *ev;
	struct scope *scope;
	struct scratch *s;
	struct file *file;
	struct task *t;
	struct exe *exe;
	bool first = false;

	key.scope = scope_of(task);
	scope = bpf_map_lookup_elem(&scopes, &key.scope);
	if (!scope)
		return 0;
	t = mark_of(old, tid);
	if (is_early(scope, t))
		return 0;
	if (t) {
		if (t->state == TASK_SETUP)
			return 0; /* the runtime executes a copy of itself */
		if (t->state == TASK_LAUNCH)
			commit_launch(t);
	}
	file = READ(bprm, file);
	inode = READ(file, f_path.dentry, d_inode);
	key.ino = READ(inode, i_ino);
	key.dev = READ(inode, i_sb, s_dev);
	key.stamp = stamp_of(inode);
	mark.scope = key.scope;
	mark.home = t && t->state == TASK_WORKLOAD ? t->home : key.scope;
	mark.state = TASK_WORKLOAD;
	mark.exe_ino = key.ino;
	mark.exe_dev = key.dev;
	mark.exe_stamp = key.stamp;
	if (old != tid)
		bpf_map_delete_elem(&tasks, &old);
	set_mark(tid, &mark);

	exe = bpf_map_lookup_elem(&exes, &key);
	if (exe) {
		__sync_fetch_and_add(&exe->count, 1);
	} else {
		s = scratch(SLOT_EXEC);
		if (!s)
			return 0;
		clear(&s->exe, sizeof(s->exe));
		s->exe.count = 1;
		s->exe.tgid = READ(task, tgid);
		s->exe.uid = READ(task, real_cred, uid.val);
		bpf_probe_read_kernel_str(s->exe.comm, sizeof(s->exe.comm), &task->comm);
		walk_path(SLOT_EXEC, WALK_EXE, (__u64)READ(file, f_path.mnt), (__u64)READ(file, f_path.dentry));
		if (bpf_map_update_elem(&exes, &key, &s->exe, BPF_NOEXIST) && !bpf_map_lookup_elem(&exes, &key))
			lose(LOST_EXES);
		first = true;
	}
	identify(task, &mark, false, SLOT_EXEC);
	if (first) {
		/* Not counted when the buffer is full: the map above has it, only later. */
		ev = bpf_ringbuf_reserve(&execs, sizeof(*ev), 0);
		if (ev) {
			ev->key = key;
			ev->tgid = READ(task, tgid);
			ev->first = 1;
			bpf_ringbuf_submit(ev, 0);
		}
	}
	return 0;
}

static __always_inline int see_exit(struct task_struct *task)
{
	__u32 tid = READ(task, pid);
	struct task *t = bpf_map_lookup_elem(&tasks, &tid);

	bpf_map_delete_elem(&inflight, &tid);
	if (!t)
		return 0;
	if (t->state == TASK_LAUNCH)
		commit_launch(t);
	else if (t->state == TASK_WORKLOAD)
		identify(task, t, true, SLOT_EXIT);
	bpf_map_delete_elem(&tasks, &tid);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	return see_exit(task);
}

/*
 * Where a tracing program may be preempted, another task's event on that CPU is
 * skipped meanwhile (kernel/bpf/trampoline.c, kernel/trace/bpf_trace.c: prog->active),
 * so the programs that run often have a twin that perf runs, without preemption
 * (include/trace/perf.h).
 */
SEC("tracepoint/sched/sched_process_exit")
int on_exit_whole(void *ctx)
{
	return see_exit((struct task_struct *)bpf_get_current_task());
}

/* ---- system calls that make no check, and what denied ones returned ---- */

/* The outcome of a system call belongs to the checks that it was denied. */
static __always_inline void land(__u32 tid, long ret)
{
	struct flight *f = bpf_map_lookup_elem(&inflight, &tid);
	struct evidence_key key;
	struct evidence *ev;

	if (!f)
		return;
	key = f->key;
	for (int i = 0; i < FLIGHT; i++) {
		if (i >= f->n)
			break;
		key.cap = f->cap[i] & ~FLIGHT_BEYOND;
		key.kind = f->cap[i] & FLIGHT_BEYOND ? KIND_BEYOND : KIND_DENIED;
		ev = bpf_map_lookup_elem(&evidences, &key);
		if (!ev)
			continue;
		if (ret < 0 && ret >= -4095)
			__sync_fetch_and_add(&ev->failed, 1);
		if (!ev->have_ret) {
			ev->ret = ret;
			ev->have_ret = 1;
		}
	}
	bpf_map_delete_elem(&inflight, &tid);
}

/* Runs at every system call of the machine: what ends most of them comes first. */
static __always_inline int see_sys_exit(void *ctx, struct pt_regs *regs, __s32 number, long ret)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct evidence_key key = {};
	struct call c = { .regs = regs, .nr = number, .slot = SLOT_SYSCALL };
	struct sysinfo *si;
	struct scope *scope;
	struct task *t;
	__u64 cg, id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id, nr;

	if (flights)
		land(tid, ret);
	nr = c.nr;
	si = bpf_map_lookup_elem(&sysinfos, &nr);
	if (!si || si->special < SPECIAL_CAPSET || is_compat(task))
		return 0;
	if (si->special == SPECIAL_EXEC && !ret)
		return 0;
	cg = own_scope();
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope)
		return 0;
	t = mark_of(tid, id >> 32);
	switch (si->special) {
	case SPECIAL_CAPSET:
		return see_capset(ctx, task, &c, scope, cg, t, ret);
	case SPECIAL_PRCTL:
		return see_prctl(ctx, &c, si, cg, t, ret);
	case SPECIAL_BIND:
		if (!ret && !(t && t->state == TASK_SETUP))
			see_bind(task, &c, scope, cg);
		return 0;
	case SPECIAL_SOCKET:
		if (ret >= 0 && !(t && t->state == TASK_SETUP))
			see_socket(task, &c, scope, cg);
		return 0;
	case SPECIAL_EXEC:
		if ((ret != -EPERM && ret != -EACCES) || (t && t->state == TASK_SETUP))
			return 0;
		if (t && t->state == TASK_LAUNCH)
			commit_launch(t);
		key.scope = cg;
		key.phase = phase_of(cg);
		key.kind = KIND_EXEC_FAILED;
		key.cap = 0xff;
		key.launch = t && t->state == TASK_LAUNCH;
		key.nr = c.nr;
		c.failed = true;
		return note(ctx, &key, &c, si);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
#if defined(__TARGET_ARCH_x86)
	return see_sys_exit(ctx, regs, regs->orig_ax, ret);
#else
	return see_sys_exit(ctx, regs, regs->syscallno, ret);
#endif
}

/* /sys/kernel/tracing/events/raw_syscalls/sys_exit/format */
struct sys_exit_record {
	__u64 common;
	long id, ret;
};

SEC("tracepoint/raw_syscalls/sys_exit")
int on_sys_exit_whole(struct sys_exit_record *ctx)
{
	return see_sys_exit(ctx, user_regs((struct task_struct *)bpf_get_current_task()), ctx->id, ctx->ret);
}
