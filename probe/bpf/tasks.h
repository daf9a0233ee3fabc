/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the task iterator writes. Go's types are generated from here. */
#ifndef LEASTCAP_TASKS_H
#define LEASTCAP_TASKS_H

/* Kinds of namespaces, in the order of proc.NamespaceKinds. */
enum { NS_USER, NS_PID, NS_NET, NS_MNT, NS_IPC, NS_UTS, NS_CGROUP, NS_KINDS };

/* In the order of struct cred (include/linux/cred.h), so that one copy takes all. */
struct capstate5 { __u64 inheritable, permitted, effective, bounding, ambient; };

struct task_entry {
	struct capstate5 sets;
	__u64 css_set; /* its address: tasks with the same one are in the same cgroups */
	__u64 cgroup;  /* the id of its cgroup in the hierarchy that was asked for */
	__s32 pid, tid, ppid; /* a thread's entry ends with its sets and name */
	__u32 euid;
	__u32 ns[NS_KINDS]; /* inode numbers, 0 if there is none any more */
	__u32 securebits;
	__s32 seccomp; /* -1: the kernel has none */
	__u8 no_new_privs, kthread, exiting;
	__u8 unused;
	__u8 comm[16];
};

#endif
