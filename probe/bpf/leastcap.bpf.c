// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * Which capability checks show a need of the workload itself.
 *
 * Every way in to the kernel's checks (tp_btf/cap_capable, fexit programs)
 * ends in on_check(). Sets are aggregated here, in counters per scope, phase
 * and capability, so that load cannot lose one; what crosses to user space as
 * events is only a hint to read an executable's file capabilities soon.
 * Rules and their sources: DESIGN.md "What it counts", docs/limits.md.
 */
#include "kernel.h"
#include "leastcap.h"

/* The kernel knows no name for "GPL-2.0 OR Apache-2.0" (include/linux/license.h). */
char LICENSE[] SEC("license") = "GPL";

#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2
#define CAP_SETPCAP 8
#define CAP_SYS_ADMIN 21
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define PR_CAPBSET_DROP 24    /* include/uapi/linux/prctl.h */
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_DGRAM 2
#define IPPROTO_ICMP 1
#define IPPROTO_ICMPV6 58
#define AT_FDCWD -100
#define EPERM 1
#define EACCES 13
#define ENOSYS 38
#define MAX_USERNS_DEPTH 33 /* kernel/user_namespace.c create_user_ns(): level > 32 is refused */

/* Which hierarchy tells scopes apart: a v1 controller's index, or -1 for the v2 tree. */
volatile const __s32 cfg_subsys = -1;
/* Kernel text of the functions that ask for SYS_ADMIN as advice, then of
 * proc_fd_permission(); 0 where kallsyms is hidden. */
#define ADVISERS 4
volatile const __u64 cfg_text[ADVISERS + 1][2];
/* x86: addresses of __per_cpu_offset[] and of what holds preempt_count; 0 where hidden. */
volatile const __u64 cfg_per_cpu_offset, cfg_preempt_count, cfg_pcpu_hot;

__u64 lost[LOST_KINDS];
__u64 checks_seen; /* in any scope, so that "saw nothing" can be told from "was blind" */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct scope);
} scopes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} phases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct totals_key);
	__type(value, struct totals);
} sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct evidence_key);
	__type(value, struct evidence);
} evidences SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct flight);
} inflight SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct exe_key);
	__type(value, struct exe);
} exes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct identity_key);
	__type(value, struct identity);
} identities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct port_key);
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sysinfo);
} sysinfos SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} execs SEC(".maps");

/* Values too large for the 512-byte stack are built here. */
struct scratch {
	struct evidence ev;
	struct exe exe;
	struct identity id;
	struct scope scope;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* New map entries start from zeroes that are too large for the stack and for memset(). */
static const struct totals zeroes;

/* Makes bpf2go see the types that only user space uses by name. */
const struct exec_event *unused_exec_event __attribute__((unused));
const struct capstate *unused_capstate __attribute__((unused));
const enum kind *unused_kind __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum special *unused_special __attribute__((unused));

/* The copy keeps accesses to our own structures (c->regs) from being relocated too. */
#define READ(src, ...) ({ typeof(src) from_ = (src); BPF_CORE_READ(from_, __VA_ARGS__); })

static __always_inline struct scratch *scratch(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline void clear(void *to, __u32 size)
{
	_Static_assert(sizeof(struct evidence) <= sizeof(zeroes), "evidence outgrew its zeroes");
	bpf_probe_read_kernel(to, size, &zeroes);
}

static __always_inline void lose(enum loss what)
{
	__sync_fetch_and_add(&lost[what], 1);
}

/* ---- where a task belongs ---- */

static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	struct css_set *set = READ(task, cgroups);
	struct cgroup_subsys_state *css = NULL;

	if (cfg_subsys < 0)
		return READ(set, dfl_cgrp);
	/* CO-RE relocates no variable index. */
	bpf_probe_read_kernel(&css, sizeof(css),
		(void *)set + bpf_core_field_offset(set->subsys) + 8 * (__u64)(cfg_subsys & 15));
	return READ(css, cgroup);
}

static __always_inline __u64 scope_of(struct task_struct *task)
{
	struct cgroup *cg = cgroup_of(task);
	return READ(cg, kn, id);
}

/* Ids of different hierarchies may collide: is this cgroup in ours? */
static __always_inline bool our_hierarchy(struct cgroup *cg)
{
	struct cgroup *own = cgroup_of((struct task_struct *)bpf_get_current_task());
	return READ(cg, root) == READ(own, root);
}

static __always_inline __u32 phase_of(__u64 scope)
{
	__u32 *p = bpf_map_lookup_elem(&phases, &scope);
	return p ? *p : 0;
}

/* A thread's own mark, or its process's: only the leader is moved by name. */
static __always_inline struct task *mark_of(__u32 tid, __u32 tgid)
{
	struct task *t = bpf_map_lookup_elem(&tasks, &tid);

	if (!t && tid != tgid)
		t = bpf_map_lookup_elem(&tasks, &tgid);
	return t;
}

static __always_inline struct totals *totals_of(__u64 scope, __u32 phase)
{
	struct totals_key key = { .scope = scope, .phase = phase };
	struct totals *t = bpf_map_lookup_elem(&sums, &key);

	if (t)
		return t;
	bpf_map_update_elem(&sums, &key, &zeroes, BPF_NOEXIST);
	t = bpf_map_lookup_elem(&sums, &key);
	if (!t)
		lose(LOST_TOTALS);
	return t;
}

static __always_inline void count(struct totals *t, __u32 kind, __u32 cap)
{
	if (kind < KINDS)
		__sync_fetch_and_add(&t->n[kind][cap & (CAPS - 1)], 1);
}

static __always_inline void count_set(struct totals *t, __u32 kind, __u64 set)
{
	for (int i = 0; i < CAPS; i++)
		if (set & (1ULL << i))
			count(t, kind, i);
}

/* ---- the system call that a task is in ---- */

struct call {
	struct pt_regs *regs;
	__s32 nr; /* -1: none (page fault, kernel entry by other ways) */
	bool compat;
	bool failed;       /* known to have failed, where the caller is at its exit */
	bool has_sets;
	__u64 sets[3]; /* capset(2)'s, in place of the arguments */
};

static __always_inline __u64 arg(struct pt_regs *regs, int i)
{
#if defined(__TARGET_ARCH_x86)
	switch (i) {
	case 0: return READ(regs, di);
	case 1: return READ(regs, si);
	case 2: return READ(regs, dx);
	case 3: return READ(regs, r10);
	case 4: return READ(regs, r8);
	default: return READ(regs, r9);
	}
#else
	switch (i) {
	case 0: return READ(regs, orig_x0);
	case 1: return READ(regs, regs[1]);
	case 2: return READ(regs, regs[2]);
	case 3: return READ(regs, regs[3]);
	case 4: return READ(regs, regs[4]);
	default: return READ(regs, regs[5]);
	}
#endif
}

/*
 * On x86 an exception leaves its error code where the system call's number
 * stands. A system call in progress has ax preset to -ENOSYS
 * (arch/x86/entry/entry_64.S, PUSH_AND_CLEAR_REGS rax=$-ENOSYS).
 */
static __always_inline struct call current_call(struct task_struct *task)
{
	struct call c = { .nr = -1 };

	c.regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	if (!c.regs)
		return c;
#if defined(__TARGET_ARCH_x86)
	if ((__s64)READ(c.regs, ax) == -ENOSYS)
		c.nr = (__s32)READ(c.regs, orig_ax);
	c.compat = READ(task, thread_info.status) & 2; /* TS_COMPAT */
#else
	c.nr = READ(c.regs, syscallno);
	c.compat = READ(task, thread_info.flags) & (1UL << 22); /* TIF_32BIT */
#endif
	return c;
}

static __always_inline struct sysinfo *sysinfo_of(struct call *c)
{
	__u32 nr = c->nr;

	if (c->nr < 0 || c->compat)
		return NULL;
	return bpf_map_lookup_elem(&sysinfos, &nr);
}

/* ---- interrupts ---- */

/* Hard or soft interrupt or NMI: current is there by accident (include/linux/preempt.h in_task()). */
static __always_inline bool in_interrupt(struct task_struct *task)
{
	__u32 n = 0;
#if defined(__TARGET_ARCH_x86)
	__u64 base = 0, at = cfg_preempt_count;

	if (!at && cfg_pcpu_hot && bpf_core_type_exists(struct pcpu_hot))
		at = cfg_pcpu_hot + bpf_core_field_offset(((struct pcpu_hot *)0)->preempt_count);
	if (!at || !cfg_per_cpu_offset)
		return false;
	bpf_probe_read_kernel(&base, sizeof(base),
		(void *)(cfg_per_cpu_offset + 8 * (__u64)bpf_get_smp_processor_id()));
	bpf_probe_read_kernel(&n, sizeof(n), (void *)(base + at));
#else
	n = READ(task, thread_info.preempt.count);
#endif
	return n & 0x00ff0100; /* NMI, hard interrupt, serving a soft interrupt */
}

/* ---- paths from dentries ---- */

/*
 * One place a turn, empty where a mount is crossed: a count of its own would
 * multiply the states that the verifier has to follow. Not static: a global
 * function is verified once, and not again at each call.
 */
__noinline int walk_path(struct walk *w, __u64 vfsmnt, __u64 leaf)
{
	struct mount *mnt = container_of((struct vfsmount *)vfsmnt, struct mount, mnt);
	struct dentry *dentry = (struct dentry *)leaf;

	if (!w)
		return 0;
	w->truncated = 1;
	for (int i = 0; i < COMPS; i++) {
		w->n = i;
		w->name[i][0] = 0;
		if (dentry == READ(mnt, mnt.mnt_root)) {
			struct mount *up = READ(mnt, mnt_parent);

			if (up == mnt || !up) {
				w->truncated = 0;
				return 0;
			}
			dentry = READ(mnt, mnt_mountpoint);
			mnt = up;
		} else {
			struct dentry *parent = READ(dentry, d_parent);

			bpf_probe_read_kernel_str(w->name[i], COMP_LEN, READ(dentry, d_name.name));
			w->n = i + 1;
			if (parent == dentry || !parent) { /* memfd, pipe: no place in a tree */
				w->truncated = 0;
				return 0;
			}
			dentry = parent;
		}
	}
	return 0;
}

static __always_inline struct file *file_of(struct task_struct *task, __u64 fd)
{
	struct fdtable *fdt = READ(task, files, fdt);
	struct file **table, *f = NULL;

	if (!fdt || fd >= READ(fdt, max_fds))
		return NULL;
	table = READ(fdt, fd);
	bpf_probe_read_kernel(&f, sizeof(f), table + fd);
	return f;
}

static __always_inline void walk_fd(struct walk *w, struct task_struct *task, __s32 fd)
{
	struct vfsmount *mnt;
	struct dentry *dentry;

	if (fd == AT_FDCWD) {
		mnt = READ(task, fs, pwd.mnt);
		dentry = READ(task, fs, pwd.dentry);
	} else {
		struct file *f = file_of(task, (__u32)fd);

		if (!f)
			return;
		mnt = READ(f, f_path.mnt);
		dentry = READ(f, f_path.dentry);
	}
	if (mnt && dentry)
		walk_path(w, (__u64)mnt, (__u64)dentry);
}

/* ---- evidence: the first of each kind, and how many ---- */

static __always_inline void fill_path(struct evidence *ev, struct task_struct *task, struct call *c, struct sysinfo *si)
{
	__u64 args[6];

	__builtin_memcpy(args, ev->args, sizeof(args));
	if (!si)
		return;
	if (si->sockaddr) {
		struct sockaddr_any sa = {};

		bpf_probe_read_user(&sa, sizeof(sa), (void *)args[1]);
		if (sa.family == AF_UNIX)
			bpf_probe_read_kernel_str(ev->path, sizeof(sa.path), sa.path);
		else
			ev->args[5] = sa.family | ((__u64)__builtin_bswap16(sa.port) << 16);
		return;
	}
	if (si->path) {
		__u64 p = si->path == 1 ? args[0] : si->path == 2 ? args[1] : args[2];

		bpf_probe_read_user_str(ev->path, sizeof(ev->path), (void *)p);
		if (ev->path[0] == '/')
			return;
		if (si->dirfd)
			walk_fd(&ev->walk, task, si->dirfd == 1 ? args[0] : si->dirfd == 2 ? args[1] : args[2]);
		else
			walk_fd(&ev->walk, task, AT_FDCWD);
		return;
	}
	if (si->fd)
		walk_fd(&ev->walk, task, (__u32)(si->fd == 1 ? args[0] : args[1]));
}

static __noinline int note(void *ctx, struct evidence_key *key, struct call *c, struct sysinfo *si)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct evidence *ev = bpf_map_lookup_elem(&evidences, key);
	struct scratch *s;
	struct task *t;
	__u64 id;

	if (ev) {
		__sync_fetch_and_add(&ev->count, 1);
		if (c->failed)
			__sync_fetch_and_add(&ev->failed, 1);
		return 0;
	}
	s = scratch();
	if (!s)
		return 0;
	ev = &s->ev;
	clear(ev, sizeof(*ev));
	id = bpf_get_current_pid_tgid();
	ev->count = 1;
	ev->failed = c->failed;
	ev->time = bpf_ktime_get_boot_ns();
	ev->tid = (__u32)id;
	ev->tgid = id >> 32;
	ev->ppid = READ(task, real_parent, tgid);
	ev->uid = READ(task, real_cred, uid.val);
	ev->euid = READ(task, real_cred, euid.val);
	ev->gid = READ(task, real_cred, gid.val);
	ev->egid = READ(task, real_cred, egid.val);
	ev->compat = c->compat;
	bpf_get_current_comm(ev->comm, sizeof(ev->comm));
	t = mark_of(ev->tid, ev->tgid);
	if (t) {
		ev->exe_ino = t->exe_ino;
		ev->exe_dev = t->exe_dev;
		ev->exe_stamp = t->exe_stamp;
	}
	if (c->has_sets) {
		ev->args[0] = c->sets[0];
		ev->args[1] = c->sets[1];
		ev->args[2] = c->sets[2];
	} else if (c->nr >= 0 && c->regs) {
		for (int i = 0; i < 6; i++)
			ev->args[i] = arg(c->regs, i);
		fill_path(ev, task, c, si);
	}
	ev->nstack = bpf_get_stack(ctx, ev->stack, sizeof(ev->stack), 0);
	if (!bpf_map_update_elem(&evidences, key, ev, BPF_NOEXIST))
		return 0;
	ev = bpf_map_lookup_elem(&evidences, key); /* another CPU was first, or the map is full */
	if (!ev) {
		lose(LOST_EVIDENCE);
		return 0;
	}
	__sync_fetch_and_add(&ev->count, 1);
	if (c->failed)
		__sync_fetch_and_add(&ev->failed, 1);
	return 0;
}

/* ---- the check ---- */

/* Is one of these functions among those that called? */
static __always_inline bool asked_by(void *ctx, int first, int end)
{
	__u64 stack[STACK] = {};
	long n = bpf_get_stack(ctx, stack, sizeof(stack), 0);

	for (int i = 0; i < STACK; i++) {
		if (i * 8 >= n)
			break;
		for (int j = first; j < end; j++)
			if (stack[i] >= cfg_text[j][0] && stack[i] < cfg_text[j][1])
				return true;
	}
	return false;
}

/*
 * security_vm_enough_memory_mm() asks for SYS_ADMIN at every mmap, brk, fork,
 * exec and page fault that accounts memory (security/commoncap.c
 * cap_vm_enough_memory()): advice to the overcommit heuristic, never a need. So
 * does the JIT at every classic filter (arch/x86/net/bpf_jit_comp.c do_jit()).
 */
static __always_inline bool advice_only(void *ctx, struct call *c, struct sysinfo *si)
{
	if (si && si->special == SPECIAL_MEMORY)
		return true;
	if (!cfg_text[0][0])
		return c->nr < 0 || (si && (si->special == SPECIAL_MEMORY_MAYBE || si->special == SPECIAL_EXEC));
	return asked_by(ctx, 0, ADVISERS);
}

/*
 * A runtime closes what it has open before it executes the entry point, and for
 * that reads /proc/self/fd, which is root's where the process is not dumpable.
 * One's own may be read in any case (fs/proc/fd.c proc_fd_permission()).
 */
static __always_inline bool own_descriptors(void *ctx, __u32 cap)
{
	return (cap == CAP_DAC_OVERRIDE || cap == CAP_DAC_READ_SEARCH) && asked_by(ctx, ADVISERS, ADVISERS + 1);
}

/* capset(2) asks for SETPCAP always (cap_inh_is_capped()), and uses the answer only here. */
static __always_inline bool setpcap_matters(struct task_struct *task, struct call *c)
{
	struct cap_header h = {};
	struct cap_data d[2] = {};
	__u64 want, have;

	bpf_probe_read_user(&h, sizeof(h), (void *)arg(c->regs, 0));
	bpf_probe_read_user(&d[0], sizeof(d[0]), (void *)arg(c->regs, 1));
	if (h.version != 0x19980330) /* _LINUX_CAPABILITY_VERSION_1 has one word */
		bpf_probe_read_user(&d[1], sizeof(d[1]), (void *)(arg(c->regs, 1) + sizeof(d[0])));
	want = d[0].inheritable | ((__u64)d[1].inheritable << 32);
	have = READ(task, real_cred, cap_inheritable.val) | READ(task, real_cred, cap_permitted.val);
	return want & ~have;
}

/*
 * Follows cap_capable()'s walk (security/commoncap.c): is the answer given by a
 * bit of the credential (1), by owning the namespace (0), or by neither because
 * the target is not below the credential's namespace (-1)?
 */
static __always_inline int decided_by(const struct cred *cred, struct user_namespace *own, struct user_namespace *target)
{
	struct user_namespace *ns = target;

	if (target == own)
		return 1;
	for (int i = 0; i < MAX_USERNS_DEPTH; i++) {
		struct user_namespace *parent = READ(ns, parent);

		if (!parent)
			return -1;
		if (parent == own)
			return READ(ns, owner.val) == READ(cred, euid.val) ? 0 : 1;
		ns = parent;
	}
	return -1;
}

/* What a system call returns belongs to each check that it was denied. */
static __always_inline void follow(__u32 tid, struct evidence_key *key)
{
	__u8 cap = key->cap | (key->kind == KIND_BEYOND ? FLIGHT_BEYOND : 0);
	struct flight *f = bpf_map_lookup_elem(&inflight, &tid);

	if (!f) {
		struct flight new = { .key = *key, .n = 1, .cap = { cap } };

		if (bpf_map_update_elem(&inflight, &tid, &new, BPF_ANY))
			lose(LOST_INFLIGHT);
		return;
	}
	for (int i = 0; i < FLIGHT; i++) {
		if (i >= f->n) {
			f->cap[i] = cap;
			f->n = i + 1;
			return;
		}
		if (f->cap[i] == cap)
			return;
	}
	lose(LOST_INFLIGHT);
}

static __always_inline int on_check(void *ctx, const struct cred *cred, struct user_namespace *target, __u32 cap, int ret)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	const struct cred *real;
	struct evidence_key key = {};
	struct user_namespace *own;
	struct sysinfo *si;
	struct totals *sum;
	struct scope *scope;
	struct task *t;
	struct call c;
	__u64 cg, id;
	__u32 phase, kind;
	int by;

	cg = scope_of(task);
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope || cap >= CAPS)
		return 0;
	__sync_fetch_and_add(&checks_seen, 1);
	phase = phase_of(cg);
	sum = totals_of(cg, phase);
	if (!sum)
		return 0;
	if (!ret)
		count(sum, KIND_PLAIN_ALL, cap);

	id = bpf_get_current_pid_tgid();
	t = mark_of((__u32)id, id >> 32);
	if (t && t->state == TASK_SETUP)
		return 0;
	if (!ret)
		count(sum, KIND_PLAIN_OWN, cap);
	if (READ(task, flags) & PF_KTHREAD)
		return 0;

	c = current_call(task);
	si = sysinfo_of(&c);
	real = READ(task, real_cred);
	if (cred != real) {
		/*
		 * Overridden (overlayfs: the mounter's) or another task's. Only
		 * access(2) judges with a copy of the task's own (fs/open.c
		 * access_override_creds()).
		 */
		if (!si || si->special != SPECIAL_ACCESS || cred != READ(task, cred) ||
		    READ(cred, cap_permitted.val) != READ(real, cap_permitted.val) ||
		    READ(cred, cap_bset.val) != READ(real, cap_bset.val))
			return 0;
	}
	own = READ(cred, user_ns);
	if (scope->userns && (__u64)own != scope->userns)
		return 0; /* power over a user namespace that the workload made itself */
	by = decided_by(cred, own, target);
	if (by == 0)
		return 0;
	if (cap == CAP_SYS_ADMIN && advice_only(ctx, &c, si))
		return 0;
	if (cap == CAP_SETPCAP && si && si->special == SPECIAL_CAPSET && !setpcap_matters(task, &c))
		return 0;
	if (t && t->state == TASK_LAUNCH && own_descriptors(ctx, cap))
		return 0;
	if (in_interrupt(task))
		return 0;

	kind = !ret ? KIND_GRANTED : by < 0 ? KIND_BEYOND : KIND_DENIED;
	key.scope = cg;
	key.phase = phase;
	key.kind = kind;
	key.cap = cap;
	key.nr = c.nr;
	if (t && t->state == TASK_LAUNCH) {
		/* Until the exec, another capset(2) may still void this. */
		key.launch = 1;
		if (kind == KIND_GRANTED)
			t->granted |= 1ULL << cap;
		else if (kind == KIND_DENIED)
			t->denied |= 1ULL << cap;
		else
			t->beyond |= 1ULL << cap;
	} else {
		count(sum, kind, cap);
	}
	note(ctx, &key, &c, si);
	if (ret && c.nr >= 0)
		follow((__u32)id, &key);
	return 0;
}

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

/* ---- scopes come and go ---- */

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_cgroup_mkdir, struct cgroup *cgrp, const char *path)
{
	struct scratch *s = scratch();
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

static __always_inline void set_mark(__u32 tid, struct task *t)
{
	if (bpf_map_update_elem(&tasks, &tid, t, BPF_ANY))
		lose(LOST_TASKS);
}

/* A process comes into a scope from outside: the runtime, until proven otherwise. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_cgroup_attach, struct cgroup *dst, const char *path, struct task_struct *task, bool threadgroup)
{
	struct task mark = { .state = TASK_SETUP };
	struct task *t;
	__u32 tgid;

	if (!our_hierarchy(dst))
		return 0;
	mark.scope = READ(dst, kn, id);
	if (!bpf_map_lookup_elem(&scopes, &mark.scope))
		return 0;
	tgid = READ(task, tgid);
	t = bpf_map_lookup_elem(&tasks, &tgid);
	if (t && t->state == TASK_WORKLOAD) {
		t->scope = mark.scope; /* the workload arranges its own cgroups */
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

/* ---- identities ---- */

static __noinline int identify(struct task_struct *task, struct task *t, bool exited)
{
	struct identity_key key = {};
	struct scratch *s = scratch();
	struct group_info *groups;
	struct identity *id;
	const struct cred *cred;
	__u64 hash = 14695981039346656037ULL; /* FNV-1a */
	struct dentry *root;

	if (!s || !t)
		return 0;
	cred = READ(task, real_cred);
	key.scope = t->scope;
	key.exe_ino = t->exe_ino;
	key.exe_dev = t->exe_dev;
	key.exe_stamp = t->exe_stamp;
	key.uid[0] = READ(cred, uid.val);
	key.uid[1] = READ(cred, euid.val);
	key.uid[2] = READ(cred, suid.val);
	key.uid[3] = READ(cred, fsuid.val);
	key.gid[0] = READ(cred, gid.val);
	key.gid[1] = READ(cred, egid.val);
	key.gid[2] = READ(cred, sgid.val);
	key.gid[3] = READ(cred, fsgid.val);
	key.nnp = READ(task, atomic_flags) & 1; /* PFA_NO_NEW_PRIVS */
	key.seccomp = READ(task, seccomp.mode);
	key.exited = exited;
	root = READ(task, fs, root.dentry);
	key.root = (__u64)root;

	id = &s->id;
	clear(id, sizeof(*id));
	groups = READ(cred, group_info);
	key.ngroups = READ(groups, ngroups);
	for (int i = 0; i < GROUPS; i++) {
		__u32 g = 0;

		if (i >= key.ngroups)
			break;
		bpf_probe_read_kernel(&g, sizeof(g), &groups->gid[i]);
		id->groups[i] = g;
		hash = (hash ^ g) * 1099511628211ULL;
	}
	key.groups = hash;
	{
		struct identity *old = bpf_map_lookup_elem(&identities, &key);

		if (old) {
			__sync_fetch_and_add(&old->count, 1);
			return 0;
		}
	}
	id->count = 1;
	id->tgid = READ(task, tgid);
	bpf_probe_read_kernel_str(id->comm, sizeof(id->comm), &task->comm);
	if (root)
		walk_path(&id->root, (__u64)READ(task, fs, root.mnt), (__u64)root);
	if (bpf_map_update_elem(&identities, &key, id, BPF_NOEXIST) && !bpf_map_lookup_elem(&identities, &key))
		lose(LOST_IDENTITIES);
	return 0;
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
	struct scratch *s;
	struct file *file;
	struct task *t;
	struct exe *exe;
	bool first = false;

	key.scope = scope_of(task);
	if (!bpf_map_lookup_elem(&scopes, &key.scope))
		return 0;
	t = mark_of(old, tid);
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
		s = scratch();
		if (!s)
			return 0;
		clear(&s->exe, sizeof(s->exe));
		s->exe.count = 1;
		s->exe.tgid = READ(task, tgid);
		s->exe.uid = READ(task, real_cred, uid.val);
		bpf_probe_read_kernel_str(s->exe.comm, sizeof(s->exe.comm), &task->comm);
		walk_path(&s->exe.walk, (__u64)READ(file, f_path.mnt), (__u64)READ(file, f_path.dentry));
		if (bpf_map_update_elem(&exes, &key, &s->exe, BPF_NOEXIST) && !bpf_map_lookup_elem(&exes, &key))
			lose(LOST_EXES);
		first = true;
	}
	identify(task, &mark, false);
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

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	__u32 tid = READ(task, pid);
	struct task *t = bpf_map_lookup_elem(&tasks, &tid);

	bpf_map_delete_elem(&inflight, &tid);
	if (!t)
		return 0;
	if (t->state == TASK_LAUNCH)
		commit_launch(t);
	else if (t->state == TASK_WORKLOAD)
		identify(task, t, true);
	bpf_map_delete_elem(&tasks, &tid);
	return 0;
}

/* ---- what makes no check ---- */

static __always_inline void see_net(struct scope *scope, struct task_struct *task)
{
	struct net *net = READ(task, nsproxy, net_ns);

	scope->port_start = READ(net, ipv4.sysctl_ip_prot_sock);
	scope->ping_low = READ(net, ipv4.ping_group_range.range[0].val);
	scope->ping_high = READ(net, ipv4.ping_group_range.range[1].val);
	scope->have_net = 1;
}

static __always_inline void see_port(__u64 cg, struct port_key *key)
{
	struct port *p, new = { .count = 1 };

	key->scope = cg;
	p = bpf_map_lookup_elem(&ports, key);
	if (p) {
		__sync_fetch_and_add(&p->count, 1);
		return;
	}
	new.tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(new.comm, sizeof(new.comm));
	if (bpf_map_update_elem(&ports, key, &new, BPF_ANY))
		lose(LOST_PORTS);
}

static __always_inline int see_capset(void *ctx, struct task_struct *task, struct call *c, struct scope *scope,
				      __u64 cg, struct task *t, long ret)
{
	struct evidence_key key = {};
	struct cap_header h = {};
	struct cap_data d[2] = {};
	const struct cred *cred;
	struct totals *sum;
	__u64 id, *sets = c->sets;
	__u32 phase;

	id = bpf_get_current_pid_tgid();
	if (t && t->state != TASK_WORKLOAD) {
		struct task mark = { .scope = cg, .state = TASK_LAUNCH };

		if (ret)
			return 0;
		cred = READ(task, real_cred);
		if (!scope->launched) {
			scope->userns = (__u64)READ(cred, user_ns);
			scope->userns_inum = READ(cred, user_ns, ns.inum);
			scope->launch.effective = READ(cred, cap_effective.val);
			scope->launch.permitted = READ(cred, cap_permitted.val);
			scope->launch.inheritable = READ(cred, cap_inheritable.val);
			scope->launch.bounding = READ(cred, cap_bset.val);
			scope->launch.ambient = READ(cred, cap_ambient.val);
		}
		__sync_fetch_and_add(&scope->launched, 1);
		set_mark((__u32)id, &mark); /* forgets what was pending */
		return 0;
	}
	bpf_probe_read_user(&h, sizeof(h), (void *)arg(c->regs, 0));
	bpf_probe_read_user(&d[0], sizeof(d[0]), (void *)arg(c->regs, 1));
	if (h.version != 0x19980330)
		bpf_probe_read_user(&d[1], sizeof(d[1]), (void *)(arg(c->regs, 1) + sizeof(d[0])));
	sets[0] = d[0].effective | ((__u64)d[1].effective << 32);
	sets[1] = d[0].permitted | ((__u64)d[1].permitted << 32);
	sets[2] = d[0].inheritable | ((__u64)d[1].inheritable << 32);
	phase = phase_of(cg);
	sum = totals_of(cg, phase);
	if (!sum)
		return 0;
	key.scope = cg;
	key.phase = phase;
	key.kind = ret ? KIND_CAPSET_FAILED : KIND_CAPSET;
	key.cap = 0xff;
	count_set(sum, key.kind, sets[0] | sets[1] | sets[2]);
	key.nr = (__s32)((sets[1] ^ (sets[1] >> 32)) * 31 + (sets[0] ^ (sets[0] >> 32)) + sets[2]);
	c->has_sets = true;
	c->failed = ret != 0;
	note(ctx, &key, c, NULL);
	return 0;
}

static __always_inline int see_prctl(void *ctx, struct call *c, struct sysinfo *si, __u64 cg, struct task *t, long ret)
{
	__u64 option = arg(c->regs, 0);
	struct evidence_key key = {};
	struct totals *sum;

	if (t && t->state != TASK_WORKLOAD)
		return 0;
	if (option == PR_CAP_AMBIENT && arg(c->regs, 1) == PR_CAP_AMBIENT_RAISE) {
		key.kind = ret ? KIND_AMBIENT_FAILED : KIND_AMBIENT;
		key.cap = arg(c->regs, 2) & (CAPS - 1);
	} else if (option == PR_CAPBSET_DROP && !ret) {
		key.kind = KIND_BOUND_DROPPED;
		key.cap = arg(c->regs, 1) & (CAPS - 1);
	} else {
		return 0;
	}
	key.scope = cg;
	key.phase = phase_of(cg);
	key.nr = c->nr;
	sum = totals_of(cg, key.phase);
	if (!sum)
		return 0;
	count(sum, key.kind, key.cap);
	c->failed = ret != 0;
	note(ctx, &key, c, si);
	return 0;
}

static __always_inline void see_bind(struct task_struct *task, struct call *c, struct scope *scope, __u64 cg)
{
	struct sockaddr_any sa = {};
	struct port_key key = {};
	struct socket *sock;
	struct file *f;

	bpf_probe_read_user(&sa, 4, (void *)arg(c->regs, 1));
	key.port = __builtin_bswap16(sa.port);
	if ((sa.family != AF_INET && sa.family != AF_INET6) || !key.port || key.port >= 1024)
		return;
	key.family = sa.family;
	f = file_of(task, (__u32)arg(c->regs, 0));
	if (f) {
		sock = READ(f, private_data);
		key.type = READ(sock, type);
	}
	see_net(scope, task);
	see_port(cg, &key);
}

static __always_inline void see_socket(struct task_struct *task, struct call *c, struct scope *scope, __u64 cg)
{
	__u64 family = arg(c->regs, 0), type = arg(c->regs, 1) & 0xf, protocol = arg(c->regs, 2);
	struct port_key key = {};

	if ((family != AF_INET && family != AF_INET6) || type != SOCK_DGRAM ||
	    (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6))
		return;
	key.family = family;
	key.type = type;
	key.ping = 1;
	see_net(scope, task);
	see_port(cg, &key);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct evidence_key key = {};
	struct call c = { .regs = regs };
	struct flight *f;
	struct evidence *ev;
	struct sysinfo *si;
	struct scope *scope;
	struct task *t;
	__u64 cg, id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id;

	f = bpf_map_lookup_elem(&inflight, &tid);
	if (f) {
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
#if defined(__TARGET_ARCH_x86)
	c.nr = (__s32)READ(regs, orig_ax);
	c.compat = READ(task, thread_info.status) & 2;
#else
	c.nr = READ(regs, syscallno);
	c.compat = READ(task, thread_info.flags) & (1UL << 22);
#endif
	si = sysinfo_of(&c);
	if (!si || si->special < SPECIAL_CAPSET)
		return 0;
	if (si->special == SPECIAL_EXEC && !ret)
		return 0;
	cg = scope_of(task);
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
