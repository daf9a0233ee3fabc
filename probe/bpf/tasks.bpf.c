// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * All processes with what leastcap ps shows of them, and those threads whose sets
 * differ from their process's: what /proc/PID/status says (fs/proc/array.c), read by
 * an iterator over tasks (since 5.8: kernel/bpf/task_iter.c).
 */
#include "kernel.h"
#include "tasks.h"

char LICENSE[] SEC("license") = "GPL";

#define READ(src, ...) BPF_CORE_READ(src, ##__VA_ARGS__)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Flavours (what follows ___ is not part of the name) with fields that kernel.h has no use for. */
struct pid_namespace___ps { struct ns_common ns; };
struct upid___ps { int nr; struct pid_namespace___ps *ns; };
struct pid___ps { unsigned int level; struct upid___ps numbers[1]; };
struct task_struct___ps {
	struct task_struct *group_leader;
	struct pid___ps *thread_pid;
	struct nsproxy___ps *nsproxy;
};
struct mnt_namespace___ps { struct ns_common ns; };
struct net___ps { struct ns_common ns; };
struct ipc_namespace___ps { struct ns_common ns; };
struct uts_namespace___ps { struct ns_common ns; };
struct cgroup_namespace___ps { struct ns_common ns; };
struct nsproxy___ps {
	struct uts_namespace___ps *uts_ns;
	struct ipc_namespace___ps *ipc_ns;
	struct mnt_namespace___ps *mnt_ns;
	struct net___ps *net_ns;
	struct cgroup_namespace___ps *cgroup_ns;
};
struct cred___ps { unsigned int securebits; };

#pragma clang attribute pop

/* Only types that something global names get into the object. */
const struct task_entry *entry_type __attribute__((unused));

/* include/linux/cgroup_subsys.h: which number a controller has differs with the configuration. */
enum cgroup_subsys_id___ps {
	pids_cgrp_id___ps, memory_cgrp_id___ps, cpu_cgrp_id___ps, devices_cgrp_id___ps,
	freezer_cgrp_id___ps, io_cgrp_id___ps, cpuset_cgrp_id___ps,
};

static __always_inline struct cgroup *cgroup_at(struct css_set *set, __u64 i)
{
	struct cgroup_subsys_state *css = NULL;

	bpf_probe_read_kernel(&css, sizeof(css), (void *)set + bpf_core_field_offset(set->subsys) + 8 * (i & 15));
	return READ(css, cgroup);
}

/*
 * The cgroup in the hierarchy that tells containers apart: see proc.FindHierarchy, which
 * takes the first of these controllers that is mounted as v1, or else the v2 tree.
 */
static __always_inline __u64 cgroup_of(struct css_set *set)
{
	struct cgroup *dfl = READ(set, dfl_cgrp), *cg;
	struct cgroup_root *v2 = READ(dfl, root);

#define TRY(name)                                                                                 \
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id___ps, name##___ps)) {                 \
		cg = cgroup_at(set, bpf_core_enum_value(enum cgroup_subsys_id___ps, name##___ps)); \
		if (cg && READ(cg, root) != v2)                                                    \
			return READ(cg, kn, id);                                                   \
	}
	TRY(pids_cgrp_id)
	TRY(memory_cgrp_id)
	TRY(cpu_cgrp_id)
	TRY(devices_cgrp_id)
	TRY(freezer_cgrp_id)
	TRY(io_cgrp_id)
	TRY(cpuset_cgrp_id)
	return READ(dfl, kn, id);
}

/* Eight bytes each, in two words before 6.3 (kernel_cap_t), which no single load may span. */
static __always_inline void sets_of(struct capstate5 *s, const struct cred *cred)
{
	bpf_probe_read_kernel(s, sizeof(*s), &cred->cap_inheritable);
}

static __always_inline bool same(struct capstate5 *a, struct capstate5 *b)
{
	return a->inheritable == b->inheritable && a->permitted == b->permitted &&
	       a->effective == b->effective && a->bounding == b->bounding && a->ambient == b->ambient;
}

/*
 * The iterator's task gives its numbers without a helper. Its pointers are read with one:
 * the verifier searches the kernel's types by name for every pointer that is followed
 * without (btf_nested_type_is_trusted() in 6.18), which takes longer than all the rest.
 */
static __always_inline int list(struct bpf_iter__task *ctx, bool all)
{
	struct task_struct *task = ctx->task;
	struct task_struct___ps *t = (void *)task;
	struct capstate5 leader;
	struct task_entry e;
	struct nsproxy___ps *nsproxy;
	struct pid_namespace___ps *ns = NULL;
	const struct cred *cred;
	struct css_set *set;
	struct pid___ps *pid;
	__u32 level;

	if (!task)
		return 0; /* the end */
	cred = READ(task, real_cred);
	__builtin_memset(&e, 0, sizeof(e));
	sets_of(&e.sets, cred);
	e.tid = task->pid;
	e.pid = task->tgid;
	bpf_probe_read_kernel(e.comm, sizeof(e.comm), &task->comm);
	if (e.tid != e.pid) {
		sets_of(&leader, READ(t, group_leader, real_cred));
		if (!same(&e.sets, &leader))
			bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
		return 0;
	}
	e.ppid = READ(task, real_parent, tgid);
	e.euid = READ(cred, euid.val);
	e.no_new_privs = task->atomic_flags & 1; /* PFA_NO_NEW_PRIVS */
	e.seccomp = bpf_core_field_exists(task->seccomp) ? task->seccomp.mode : -1;
	e.kthread = !!(task->flags & PF_KTHREAD);
	e.exiting = !!(task->flags & PF_EXITING);
	e.ns[NS_USER] = READ(cred, user_ns, ns.inum);
	set = READ(task, cgroups);
	e.css_set = (__u64)set;
	e.cgroup = cgroup_of(set);
	if (all) {
		e.securebits = READ((struct cred___ps *)cred, securebits);
		pid = READ(t, thread_pid);
		level = READ(pid, level) & 31; /* MAX_PID_NS_LEVEL, include/linux/pid_namespace.h */
		bpf_probe_read_kernel(&ns, sizeof(ns), (void *)pid + bpf_core_field_offset(pid->numbers) +
			level * bpf_core_type_size(struct upid___ps) + bpf_core_field_offset(((struct upid___ps *)0)->ns));
		e.ns[NS_PID] = READ(ns, ns.inum);
		nsproxy = READ(t, nsproxy);
		e.ns[NS_NET] = READ(nsproxy, net_ns, ns.inum);
		e.ns[NS_MNT] = READ(nsproxy, mnt_ns, ns.inum);
		e.ns[NS_IPC] = READ(nsproxy, ipc_ns, ns.inum);
		e.ns[NS_UTS] = READ(nsproxy, uts_ns, ns.inum);
		e.ns[NS_CGROUP] = READ(nsproxy, cgroup_ns, ns.inum);
	}
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}

SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	return list(ctx, false);
}

/* The same with securebits and all namespaces, in half as much time again. */
SEC("iter/task")
int list_tasks_all(struct bpf_iter__task *ctx)
{
	return list(ctx, true);
}
