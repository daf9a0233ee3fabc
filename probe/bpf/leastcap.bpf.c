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
#include "adopt.h"
#include "check.h"
#include "identity.h"
#include "kprobe.h"
#include "refusal.h"
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
	return check_in(ctx, SLOT_CHECK, false, cred, ns, PARAM3(ctx), verdict_of(cred, ns, PARAM3(ctx)));
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

		s->scope.host = up->host && !has_container_id(s);
		if (!up->host) {
			s->scope.userns = up->userns;
			s->scope.userns_inum = up->userns_inum;
		}
		if (phase && !(up->host && !s->scope.host)) {
			s->scope.phase = phase;
			bpf_map_update_elem(&phases, &id, &phase, BPF_ANY);
		}
	}
	if (bpf_map_update_elem(&scopes, &id, &s->scope, BPF_ANY))
		lose(LOST_SCOPES);
	tell();
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
	if (!scope)
		return 0;
	scope->dead = 1;
	tell();
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
	struct scope *scope;
	struct task *t;
	bool leaves = false; /* a process of the host's, of which nothing is lost elsewhere */
	__u32 tgid;

	if (!our_hierarchy(dst))
		return 0;
	mark.scope = READ(dst, kn, id);
	tgid = READ(task, tgid);
	scope = bpf_map_lookup_elem(&scopes, &mark.scope);
	t = bpf_map_lookup_elem(&tasks, &tgid);
	if (t && t->state == TASK_WORKLOAD) {
		leaves = scope && is_host(t->home);
		if (!leaves)
			check_home(mark.scope, t->home);
	}
	if (!scope)
		return 0;
	if (t && t->state == TASK_WORKLOAD && !leaves) {
		t->scope = mark.scope;
		return 0;
	}
	if (scope->host && !of_init(task))
		take_in(task, &mark, mark.scope, SLOT_ATTACH);
	set_mark(tgid, &mark);
	return 0;
}

/* The thread parent of tgid, in the cgroup from, has made tid, which begins in cg. */
static __always_inline int see_fork(__u32 parent, __u32 tgid, __u64 from, __u32 tid, __u64 cg)
{
	struct task mark = {};
	struct scope *scope;
	struct task *t;

	t = mark_of(parent, tgid, from);
	if (t) {
		mark = *t;
		mark.granted = mark.denied = mark.beyond = 0;
	}
	if (cfg_self && cg == from && tgid == cfg_self) {
		mark.scope = cg;
		mark.state = TASK_OWN;
		set_first_mark(tid, &mark);
		return 0;
	}
	if (cg == from || (t && mark.scope == cg)) {
		if (t) {
			mark.scope = cg;
			set_first_mark(tid, &mark);
		} else {
			bpf_map_delete_elem(&tasks, &tid); /* the number's last user may have left one */
		}
		return 0;
	}
	/* CLONE_INTO_CGROUP */
	mark.scope = cg;
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (t && mark.state == TASK_WORKLOAD && !(scope && is_host(mark.home))) {
		check_home(cg, mark.home);
		set_first_mark(tid, &mark);
		return 0;
	}
	if (!t && !scope) {
		bpf_map_delete_elem(&tasks, &tid);
		return 0;
	}
	mark.state = TASK_SETUP;
	if (scope && scope->host && tgid != 1) {
		mark.state = TASK_WORKLOAD;
		mark.home = cg;
	}
	set_first_mark(tid, &mark);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	return see_fork(parent->pid, parent->tgid, typed_scope_of(parent), child->pid, typed_scope_of(child));
}

/*
 * Where a tracing program may be preempted, another task's event on that CPU is
 * skipped meanwhile (kernel/bpf/trampoline.c, kernel/trace/bpf_trace.c: prog->active),
 * so those that run for tasks have a twin that a kprobe or perf runs, without preemption
 * (include/trace/perf.h). Those of cgroups run under a spin lock (kernel/cgroup/
 * cgroup-internal.h TRACE_CGROUP_PATH()).
 *
 * kernel_clone() calls this one right behind the tracepoint (kernel/fork.c), and
 * create_io_thread()'s caller for a worker of io_uring.
 */
SEC("kprobe/wake_up_new_task")
int on_fork_whole(struct pt_regs *ctx)
{
	struct task_struct *child = (struct task_struct *)PARAM1(ctx);
	__u64 id = bpf_get_current_pid_tgid();

	return see_fork((__u32)id, id >> 32, own_scope(), READ(child, pid), scope_of(child));
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
		tell();
	}
	t->granted = t->denied = t->beyond = 0;
}

/* ---- exec and exit ---- */

static __always_inline int see_exec(struct task_struct *task, __u32 old, struct file *file)
{
	__u32 tid = READ(task, pid);
	struct task mark = {};
	struct exec_event *ev;
	struct exe_key key;
	struct scope *scope;
	struct task *t;
	__u64 cg = scope_of(task);

	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope)
		return 0;
	t = mark_of(old, tid, cg);
	if (is_early(scope, cg, t))
		return 0;
	if (t) {
		if (t->state == TASK_OWN || (t->state == TASK_SETUP && !scope->host))
			return 0; /* the runtime executes a copy of itself */
		if (t->state == TASK_LAUNCH)
			commit_launch(t);
	}
	key = exe_of(file, cg);
	mark.scope = cg;
	mark.home = t && t->state == TASK_WORKLOAD ? t->home : cg;
	mark.state = TASK_WORKLOAD;
	mark.exe_ino = key.ino;
	mark.exe_dev = key.dev;
	mark.exe_stamp = key.stamp;
	if (old != tid)
		bpf_map_delete_elem(&tasks, &old);
	set_mark(tid, &mark);
	if (ran(task, file, &key, SLOT_EXEC)) {
		/* Not counted when the buffer is full: the map has it, only later. */
		ev = bpf_ringbuf_reserve(&execs, sizeof(*ev), 0);
		if (ev) {
			ev->key = key;
			ev->tgid = READ(task, tgid);
			ev->first = 1;
			bpf_ringbuf_submit(ev, 0);
		}
	}
	if (!scope->host) /* a host has too many, and nobody compares them */
		identify(task, &mark, false, SLOT_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	return see_exec(task, old_pid, READ(bprm, file));
}

/* /sys/kernel/tracing/events/sched/sched_process_exec/format */
struct exec_record {
	__u64 common;
	__u32 filename;
	int pid, old_pid;
};

/* begin_new_exec() made bprm->file the new mm's (fs/exec.c, set_mm_exe_file()). */
SEC("tracepoint/sched/sched_process_exec")
int on_exec_whole(struct exec_record *ctx)
{
	struct task_struct *task = current_task();

	return see_exec(task, ctx->old_pid, READ(task, mm, exe_file));
}

static __always_inline int see_exit(struct task_struct *task)
{
	__u32 tid = LOAD_TASK(task, pid);
	struct task *t = bpf_map_lookup_elem(&tasks, &tid);

	if (flights)
		bpf_map_delete_elem(&inflight, &tid);
	if (cfg_refusals)
		bpf_map_delete_elem(&entered, &tid);
	if (!t)
		return 0;
	if (t->state == TASK_LAUNCH)
		commit_launch(t);
	else if (t->state == TASK_WORKLOAD && !is_host(t->scope))
		identify(task, t, true, SLOT_EXIT);
	bpf_map_delete_elem(&tasks, &tid);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	return see_exit(task);
}

SEC("tracepoint/sched/sched_process_exit")
int on_exit_whole(void *ctx)
{
	return see_exit(current_task());
}

/* ---- system calls that make no check, and what denied ones returned ---- */

/*
 * The outcome of a system call belongs to the checks that it was denied. What it
 * was asked for is left in why.
 */
static __always_inline void land(__u32 tid, long ret, struct refusal_key *why)
{
	struct flight *f = bpf_map_lookup_elem(&inflight, &tid);
	struct evidence_key key;
	struct evidence *ev;

	if (!f)
		return;
	key = f->key;
	why->granted = f->granted;
	for (int i = 0; i < FLIGHT; i++) {
		if (i >= f->n)
			break;
		key.cap = f->cap[i] & ~FLIGHT_BEYOND;
		if (f->cap[i] & FLIGHT_BEYOND) {
			key.kind = KIND_BEYOND;
			why->beyond |= 1ULL << (key.cap & (CAPS - 1));
		} else {
			key.kind = KIND_DENIED;
			why->denied |= 1ULL << (key.cap & (CAPS - 1));
		}
		ev = bpf_map_lookup_elem(&evidences, &key);
		if (!ev)
			continue;
		if (ret < 0 && ret >= -4095)
			__sync_fetch_and_add(&ev->failed, 1);
		if (!ev->have_ret) {
			ev->ret = ret;
			ev->have_ret = 1;
			tell();
		}
	}
	bpf_map_delete_elem(&inflight, &tid);
}

/* Runs at every system call of the machine: what ends most of them comes first. */
static __always_inline int see_sys_exit(void *ctx, struct pt_regs *regs, __s32 number, long ret)
{
	struct task_struct *task = current_task();
	struct evidence_key key = {};
	struct refusal_key why = {};
	struct call c = { .regs = regs, .nr = number, .slot = SLOT_SYSCALL };
	struct sysinfo *si;
	struct scope *scope;
	struct task *t;
	__u64 cg, id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id, nr;
	bool refused = false;

	if (flights)
		land(tid, ret, &why);
	if (cfg_refusals) {
		why.begun = has_begun(task, tid);
		refused = is_refusal(ret);
	}
	nr = c.nr;
	if (c.nr < 0)
		return 0; /* a signal's frame: no system call */
	si = bpf_map_lookup_elem(&sysinfos, &nr);
	if ((!si || si->special < SPECIAL_CAPSET) && !refused)
		return 0;
	c.compat = is_compat(task);
	if (c.compat && !refused)
		return 0;
	if (si && si->special == SPECIAL_EXEC && !ret)
		return 0;
	cg = own_scope();
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope)
		return 0;
	t = mark_of(tid, id >> 32, cg);
	if (t && t->state == TASK_OWN)
		return 0;
	if (refused && !(t && t->state == TASK_SETUP) && !(cfg_self && id >> 32 == cfg_self)) {
		why.scope = cg;
		why.nr = c.nr;
		why.ret = ret;
		refuse(&c, c.compat ? NULL : si, &why, t);
	}
	if (!si || c.compat)
		return 0;
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
		key.phase = phase_in(cg, scope);
		key.kind = KIND_EXEC_FAILED;
		key.cap = 0xff;
		key.launch = t && t->state == TASK_LAUNCH;
		key.nr = c.nr;
		c.failed = true;
		note(ctx, &key, &c, si);
		return 0;
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
