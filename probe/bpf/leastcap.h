/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the programs and their loader agree on. Go's types are generated from here. */
#ifndef LEASTCAP_H
#define LEASTCAP_H

#define NAME_LEN 128  /* a cgroup's leaf name: "cri-containerd-" + 64 + ".scope" fits */
#define PATH_LEN 256  /* a path argument as user space passed it */
#define WALK_STEPS 32 /* components and mounts of a path that is read from dentries */
#define WALK_LEN 512  /* bytes of it, and one more name; a power of two */
#define WALK_NAME 256 /* include/uapi/linux/limits.h NAME_MAX, with its NUL */
#define STACK 20      /* return addresses kept of the kernel stack */
#define HOME_DEPTH 8  /* levels of cgroups that a workload makes in its own */
#define GROUPS 32     /* supplementary groups kept */
#define CAPS 64       /* bits of kernel_cap_t */
#define FLIGHT 7      /* capabilities that one system call may be denied; bpf_capable() asks for 2 */
#define FLIGHT_BEYOND 0x80
#define KEY_FOREIGN 2 /* in evidence_key.launch: asked with a user namespace of the workload's own making */
#define COMPAT_NR (1 << 29) /* in evidence_key.nr: of the 32-bit table; x32 has bit 30 */

/* What is counted, per scope, phase and capability. */
enum kind {
	KIND_GRANTED,        /* counted check, granted by the credential's own bit */
	KIND_DENIED,         /* counted check, denied */
	KIND_BEYOND,         /* denied: asked of an outer user namespace, no grant can help */
	KIND_CAPSET,         /* set by capset(2) */
	KIND_CAPSET_FAILED,  /* capset(2) asked for it and failed */
	KIND_AMBIENT,        /* raised in the ambient set */
	KIND_AMBIENT_FAILED,
	KIND_BOUND_DROPPED,  /* dropped from the bounding set */
	KIND_PLAIN_ALL,      /* any granted check in the cgroup: what a plain trace shows */
	KIND_PLAIN_OWN,      /* the same without the runtime's set-up */
	KINDS,
	KIND_EXEC_FAILED = KINDS, /* evidence only */
	KIND_ADVICE,              /* memos only: memory accounting */
};

enum task_state {
	TASK_NONE,
	TASK_SETUP,    /* came into the scope from outside: the runtime at work */
	TASK_LAUNCH,   /* a set-up thread after capset(2): acts with the container's credentials */
	TASK_WORKLOAD, /* after the exec that follows */
	TASK_OWN,      /* leastcap's own: what it asks engines */
};

enum loss {
	LOST_SCOPES,
	LOST_TOTALS,
	LOST_EVIDENCE,
	LOST_TASKS,
	LOST_EXES,
	LOST_IDENTITIES,
	LOST_PORTS,
	LOST_INFLIGHT,
	LOST_MOVED, /* processes that left the workload's cgroup; counted in their home */
	LOST_REFUSALS,
	LOST_KINDS,
};

/* What a system call's arguments are, so that evidence can show them. 0 = none, else index + 1. */
struct sysinfo {
	__u8 path, dirfd, fd, sockaddr;
	__u8 special;
};
enum special {
	SPECIAL_NONE,
	SPECIAL_MEMORY,      /* SYS_ADMIN here is memory accounting, always */
	SPECIAL_MEMORY_MAYBE,/* may be */
	SPECIAL_FORK,        /* may be, after something was denied */
	SPECIAL_ACCESS,      /* judged with temporary credentials derived from the task's own */
	SPECIAL_CAPSET,
	SPECIAL_PRCTL,
	SPECIAL_BIND,
	SPECIAL_SOCKET,
	SPECIAL_EXEC,
};

struct capstate { __u64 effective, permitted, inheritable, bounding, ambient; };

struct scope {
	__u64 parent;      /* cgroup id */
	__u64 userns;      /* address, an opaque id; 0 = not known yet */
	__u32 userns_inum;
	__u32 level;
	__u32 dead;        /* the cgroup is gone */
	__u32 launched;    /* how many times a runtime reached its last capset(2) here */
	struct capstate launch; /* what the first of them set */
	__s32 port_start;  /* net.ipv4.ip_unprivileged_port_start, -1 = not read */
	__u32 ping_low, ping_high;
	__u32 have_net;
	__u32 moved;       /* processes of the workload at home here that left */
	__u8 host;         /* no container's: what comes in is no runtime at work */
	__u8 adopted;      /* older than the probe */
	__u8 born;         /* it was made while it could be seen */
	__u8 phase;        /* unless the map of phases says otherwise */
	__u8 name[NAME_LEN];
};

struct totals_key { __u64 scope; __u32 phase; __u32 pad; };

/*
 * A counter that CPUs do not fight for: each adds to one of eight, a cache line apart.
 * More CPUs than that share them; what is between them stays 0.
 */
#define STRIPES 64

/* Sets are bytes that only ever become 1, so that a check that was seen before writes nothing. */
struct totals {
	__u8 has[KINDS][CAPS];
	__u64 checks[STRIPES]; /* all of them, counted or not */
};

struct walk { /* a path: its components, leaf first, each with its NUL */
	__u32 len;
	__u32 truncated;
	__u8 names[WALK_LEN + WALK_NAME];
};

struct evidence_key {
	__u64 scope;
	__u8 phase, kind, cap, launch; /* launch: or KEY_FOREIGN, of which there is no evidence */
	__s32 nr;      /* system call, -1 = none; a hash of the sets for capset */
};

/*
 * A check that a thread was granted by its own credential in its own user namespace, and
 * that it was granted in the same system call before, is of a kind that is known: it only
 * has to be counted. (Of sys_admin such a call may also ask as advice, which then counts
 * too; no set has more for it.) What is pending here is added to its evidence when another
 * takes its place, and by whoever reads.
 */
#define MEMOS 8
enum advice { ADVICE = 1, ADVICE_OF_FORK };
struct memo {
	__u64 ns;      /* the namespace's address, an opaque id */
	__u64 pending;
	__u64 born;    /* when the thread began: its number may be another's by now */
	struct evidence_key key;
	__u32 tid, epoch;
	__s32 nr;
	__s32 ret;
	__u8 compat;
	__u8 advice; /* enum advice: its check counts as no need */
};
struct flight { /* the denied checks of a system call that has not returned yet */
	struct evidence_key key; /* of the first */
	__u8 n;
	__u8 cap[FLIGHT];        /* with FLIGHT_BEYOND, where the kind is KIND_BEYOND */
	__u64 granted;           /* where refusals are followed: these may be refused all the same */
};
struct evidence {
	__u64 count[STRIPES];
	__u64 failed;    /* how many of these system calls returned an error */
	__u64 time;      /* of the first, ns since boot */
	__u64 args[6];
	__u64 stack[STACK];
	__s64 ret;       /* what the first's system call returned */
	__u32 have_ret;
	__s32 nstack;
	__u32 tid, tgid, ppid;
	__u32 uid, euid, gid, egid;
	__u32 compat;
	__u64 exe_ino;
	__u32 exe_dev, exe_stamp;
	__u8 comm[16];
	__u8 path[PATH_LEN];
	struct walk walk;
};

/* A deleted file's inode number is used again: stamp tells such files apart. */
struct exe_key { __u64 scope; __u64 ino; __u32 dev; __u32 stamp; };
struct exe {
	__u64 count;
	__u32 tgid;      /* of the first */
	__u32 uid;
	__u8 comm[16];
	struct walk walk;
};

struct exec_event { struct exe_key key; __u32 tgid; __u32 first; };

struct identity_key {
	__u64 scope;
	__u64 exe_ino;
	__u64 root;      /* dentry address: an opaque id */
	__u64 groups;    /* hash */
	__u32 exe_dev;
	__u32 ngroups;
	__u32 uid[4], gid[4]; /* real, effective, saved, file system */
	__u8 nnp, seccomp;
	__u8 exited;     /* seen at exit, else at exec */
	__u8 pad;
	__u32 exe_stamp;
};
struct identity {
	__u64 count;
	__u32 groups[GROUPS];
	__u32 tgid, pad;
	__u8 comm[16];
	struct walk root;
};

/* Was a system call seen to begin? seccomp stops one before it does. */
enum begun { BEGUN_UNKNOWN, BEGUN_YES, BEGUN_NO };

/* A system call that was refused. What is alike in all of this is counted, and the first is kept. */
struct refusal_key {
	__u64 scope;
	__u64 exe_ino;
	__u64 denied, beyond, granted; /* what it was asked for meanwhile */
	__u64 place;     /* a hash of the path, or a file's dentry */
	__u32 exe_dev, exe_stamp;
	__s32 nr, ret;
	__u32 uid;       /* effective */
	__u8 launch, begun, nnp, compat;
};
struct refusal {
	__u64 count;
	__u64 time;      /* of the first, ns since boot */
	__u64 args[6];
	struct capstate caps;
	__u32 tid, tgid, ppid;
	__u32 uid, euid, gid, egid, fsuid, fsgid;
	__u32 userns_level;
	__u32 seccomp, pad;
	__u64 sets[3];   /* capset(2)'s */
	__u8 comm[16];
	__u8 path[PATH_LEN];
	struct walk walk;
};

struct port_key { __u64 scope; __u16 port; __u8 family; __u8 type; __u32 ping; };
struct port { __u64 count; __u32 tgid, pad; __u8 comm[16]; };

struct task {
	__u64 scope;
	__u64 home;      /* where it became TASK_WORKLOAD, or what forked it did */
	__u64 exe_ino;
	__u32 exe_dev, exe_stamp;
	__u32 state, pad;
	__u64 granted, denied, beyond; /* while TASK_LAUNCH: not yet certain */
};

#endif
