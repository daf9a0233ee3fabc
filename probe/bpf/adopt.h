/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Executables, and the processes that ran before anybody looked. */
#ifndef LEASTCAP_ADOPT_H
#define LEASTCAP_ADOPT_H

#include "evidence.h"

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

static __always_inline struct exe_key exe_of(struct file *file, __u64 scope)
{
	struct inode *inode = READ(file, f_path.dentry, d_inode);
	struct exe_key key = {
		.scope = scope, .ino = READ(inode, i_ino), .dev = READ(inode, i_sb, s_dev), .stamp = stamp_of(inode),
	};

	return key;
}

/* Is this the first time that the scope runs it? */
static __noinline bool ran(struct task_struct *task, struct file *file, struct exe_key *key, __u32 slot)
{
	struct exe *exe = bpf_map_lookup_elem(&exes, key);
	struct scratch *s;

	if (exe) {
		__sync_fetch_and_add(&exe->count, 1);
		return false;
	}
	s = scratch(slot);
	if (!s)
		return false;
	clear(&s->exe, sizeof(s->exe));
	s->exe.count = 1;
	s->exe.tgid = READ(task, tgid);
	s->exe.uid = READ(task, real_cred, uid.val);
	bpf_probe_read_kernel_str(s->exe.comm, sizeof(s->exe.comm), &task->comm);
	walk_path(slot, WALK_EXE, (__u64)READ(file, f_path.mnt), (__u64)READ(file, f_path.dentry));
	if (bpf_map_update_elem(&exes, key, &s->exe, BPF_NOEXIST) && !bpf_map_lookup_elem(&exes, key))
		lose(LOST_EXES);
	tell();
	return true;
}

/* A process that nobody saw executing anything is the workload's own from here on. */
static __always_inline void take_in(struct task_struct *task, struct task *mark, __u64 scope, __u32 slot)
{
	struct file *file = READ(task, mm, exe_file);

	mark->scope = mark->home = scope;
	mark->state = TASK_WORKLOAD;
	if (file) {
		struct exe_key key = exe_of(file, scope);

		mark->exe_ino = key.ino;
		mark->exe_dev = key.dev;
		mark->exe_stamp = key.stamp;
		ran(task, file, &key, slot);
	}
}

/* Is it the doing of the service manager, which moves its child before it executes the service? */
static __always_inline bool of_init(struct task_struct *task)
{
	return READ(task, real_parent, tgid) == 1;
}

/*
 * Run once over all processes, after the scopes that are older than the probe
 * were put into their map: what is in them already is the workload at once.
 */
SEC("iter/task")
int adopt(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct user_namespace *ns, *known;
	struct task mark = {};
	struct scope *scope;
	__u32 pid;
	__u64 cg;

	if (!task || READ(task, flags) & (PF_KTHREAD | PF_EXITING))
		return 0;
	pid = READ(task, pid);
	if (pid != READ(task, tgid))
		return 0; /* its threads have their leader's mark */
	cg = scope_of(task);
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope || !scope->adopted)
		return 0;
	if (!scope->host) {
		/* The container's own is the outermost that anything in it is in. */
		ns = READ(task, real_cred, user_ns);
		known = (struct user_namespace *)scope->userns;
		if (!known || READ(ns, level) < READ(known, level)) {
			scope->userns = (__u64)ns;
			scope->userns_inum = READ(ns, ns.inum);
		}
	}
	take_in(task, &mark, cg, SLOT_ADOPT);
	if (bpf_map_update_elem(&tasks, &pid, &mark, BPF_NOEXIST)) {
		if (!bpf_map_lookup_elem(&tasks, &pid))
			lose(LOST_TASKS);
		return 0; /* seen doing something meanwhile */
	}
	/* It may have ended in between; then nobody would take the mark away. */
	if (READ(task, flags) & PF_EXITING)
		bpf_map_delete_elem(&tasks, &pid);
	return 0;
}

#endif
