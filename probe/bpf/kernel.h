/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The kernel's types, reduced to the fields that are read. Field offsets are
 * not taken from here: preserve_access_index makes the loader relocate every
 * access against the running kernel's BTF (CO-RE), so only names matter.
 */
#ifndef LEASTCAP_KERNEL_H
#define LEASTCAP_KERNEL_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };

/* Constants of the kernel's, uapi unless a source is named. */
#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2
#define CAP_SETPCAP 8
#define CAP_SYS_ADMIN 21
#define PF_EXITING 0x00000004 /* include/linux/sched.h */
#define PF_KTHREAD 0x00200000
#define CLONE_NEW 0x7e020000UL /* include/uapi/linux/sched.h: CLONE_NEW*, but for clone3(2) */
#define CLONE_NEWUSER 0x10000000UL
#if defined(__TARGET_ARCH_x86)
#define NR_CLONE 56  /* arch/x86/entry/syscalls/syscall_64.tbl */
#else
#define NR_CLONE 220 /* include/uapi/asm-generic/unistd.h */
#endif
#define PR_CAPBSET_DROP 24    /* include/uapi/linux/prctl.h */
#define PR_SET_SECUREBITS 28
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
#define EROFS 30
#define EACCES 13
#define ENOSYS 38
#define MAX_USERNS_DEPTH 33 /* kernel/user_namespace.c create_user_ns(): level > 32 is refused */

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { __u32 val; } kuid_t;
typedef struct { __u32 val; } kgid_t;

/* Two 32-bit words before 6.3, one 64-bit word since; the same eight bytes. */
typedef struct { __u64 val; } kernel_cap_t;

struct ns_common { unsigned int inum; };

struct user_namespace {
	struct user_namespace *parent;
	int level;
	kuid_t owner;
	struct ns_common ns;
};

struct group_info {
	int ngroups;
	kgid_t gid[0];
};

struct cred {
	kuid_t uid, suid, euid, fsuid;
	kgid_t gid, sgid, egid, fsgid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	struct user_namespace *user_ns;
	struct group_info *group_info;
	unsigned securebits;
};

struct kernfs_node { const char *name; __u64 id; };
struct cgroup;
struct cgroup_root;
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

struct qstr { const unsigned char *name; };
struct super_block { __u32 s_dev; };
struct inode { unsigned long i_ino; struct super_block *i_sb; };
/* The time of the last change of an inode: before 6.6, before 6.11, since. */
struct timespec64 { __s64 tv_sec; long tv_nsec; };
struct inode___old { struct timespec64 i_ctime; };
struct inode___mid { struct timespec64 __i_ctime; };
struct inode___new { __s64 i_ctime_sec; __u32 i_ctime_nsec; };
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct vfsmount { struct dentry *mnt_root; };
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; void *private_data; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct fs_struct { struct path root, pwd; };
struct socket { short type; };

struct netns_ping { kgid_t range[2]; };
struct netns_ipv4 {
	int sysctl_ip_prot_sock;
	struct netns_ping ping_group_range;
};
struct net { struct ns_common ns; struct netns_ipv4 ipv4; };
struct nsproxy { struct net *net_ns; };

struct seccomp { int mode; };
struct mm_struct { struct file *exe_file; };

#if defined(__TARGET_ARCH_x86)
struct thread_info { __u32 status; };
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip;
};
#elif defined(__TARGET_ARCH_arm64)
struct preempt_arm64 { __u32 count; };
struct thread_info { unsigned long flags; struct preempt_arm64 preempt; };
struct pt_regs {
	__u64 regs[31];
	__u64 orig_x0;
	__s32 syscallno;
};
#endif

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid, tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	const struct cred *real_cred, *cred;
	__u64 start_time;
	char comm[16];
	struct css_set *cgroups;
	struct files_struct *files;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
	struct seccomp seccomp;
	unsigned long atomic_flags;
	void *stack;
};

/* Which helpers this kernel has. */
enum bpf_func_id___known {
	BPF_FUNC_get_current_task_btf___known = 158, /* since 5.11 */
	BPF_FUNC_task_pt_regs___known = 175,         /* since 5.15 */
};

struct linux_binprm { struct file *file; const char *filename; };

struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; };

/* x86 from 6.2 to 6.14 keeps the count in a hot cache line of its own. */
struct pcpu_hot { int preempt_count; };

#pragma clang attribute pop

/* include/linux/bpf.h, kernel/bpf/task_iter.c: what the iterator hands over. */
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };

/* uapi structures: their layout is an ABI and must not be relocated. */
struct sockaddr_any {
	__u16 family;
	union {
		__be16 port;      /* AF_INET, AF_INET6 */
		char path[108];   /* AF_UNIX */
	};
};
struct cap_header { __u32 version; __s32 pid; };
struct cap_data { __u32 effective, permitted, inheritable; };

#endif
