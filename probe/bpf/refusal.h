/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* System calls that were refused, for whatever reason. */
#ifndef LEASTCAP_REFUSAL_H
#define LEASTCAP_REFUSAL_H

#include "evidence.h"

static __always_inline bool is_refusal(long ret)
{
	return ret == -EPERM || ret == -EACCES || ret == -EROFS;
}

/*
 * A system call that seccomp stops never begins: the filter is asked before the
 * tracepoint (kernel/entry/common.c syscall_trace_enter(), arch/arm64/kernel/ptrace.c),
 * and it ends all the same.
 */
static __always_inline int see_sys_enter(void)
{
	struct task_struct *task = current_task();
	__u32 tid, one = 1, *in;
	__u64 cg;

	if (!LOAD_TASK(task, seccomp.mode))
		return 0;
	tid = LOAD_TASK(task, pid);
	in = bpf_map_lookup_elem(&entered, &tid);
	if (in) {
		*in = 1;
		return 0;
	}
	cg = own_scope();
	if (bpf_map_lookup_elem(&scopes, &cg))
		bpf_map_update_elem(&entered, &tid, &one, BPF_ANY); /* full: it stays unknown, which is said */
	return 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long nr)
{
	return see_sys_enter();
}

SEC("tracepoint/raw_syscalls/sys_enter")
int on_sys_enter_whole(void *ctx)
{
	return see_sys_enter();
}

static __always_inline __u8 has_begun(struct task_struct *task, __u32 tid)
{
	__u32 *in;
	__u8 was;

	if (!LOAD_TASK(task, seccomp.mode))
		return BEGUN_YES; /* nothing else stops one */
	in = bpf_map_lookup_elem(&entered, &tid);
	if (!in)
		return BEGUN_UNKNOWN;
	was = *in ? BEGUN_YES : BEGUN_NO;
	*in = 0;
	return was;
}

static __always_inline __u64 hash_path(const __u8 *path)
{
	__u64 hash = 14695981039346656037ULL; /* FNV-1a */

	for (int i = 0; i < PATH_LEN; i++) {
		__u8 c = path[i];

		if (!c)
			break;
		hash = (hash ^ c) * 1099511628211ULL;
	}
	return hash;
}

/* Where the path begins, or which file it is. */
static __always_inline __u64 hash_place(struct task_struct *task, struct sysinfo *si, struct refusal *r)
{
	__u64 hash = 0, fd = 0;
	struct file *f;

	if (!si)
		return 0;
	if (r->path[0])
		hash = hash_path(r->path);
	if (r->path[0] == '/')
		return hash;
	if (si->dirfd)
		fd = si->dirfd == 1 ? r->args[0] : si->dirfd == 2 ? r->args[1] : r->args[2];
	else if (si->fd)
		fd = si->fd == 1 ? r->args[0] : r->args[1];
	else
		return hash ^ (si->path ? (__u64)READ(task, fs, pwd.dentry) : 0);
	if ((__s32)fd == AT_FDCWD)
		return hash ^ (__u64)READ(task, fs, pwd.dentry);
	f = file_of(task, (__u32)fd);
	return f ? hash ^ (__u64)READ(f, f_path.dentry) : hash;
}

static __noinline int refuse(struct call *c, struct sysinfo *si, struct refusal_key *key, struct task *t)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct refusal *old, *r;
	struct scratch *s;
	const struct cred *cred;
	__u64 id = bpf_get_current_pid_tgid();

	s = scratch(SLOT_SYSCALL);
	if (!s)
		return 0;
	r = &s->refusal;
	clear(r, sizeof(*r));
	cred = READ(task, real_cred);
	key->uid = READ(cred, euid.val);
	key->nnp = READ(task, atomic_flags) & 1; /* PFA_NO_NEW_PRIVS */
	key->compat = c->compat;
	if (t) {
		key->exe_ino = t->exe_ino;
		key->exe_dev = t->exe_dev;
		key->exe_stamp = t->exe_stamp;
		key->launch = t->state == TASK_LAUNCH;
	}
#pragma clang loop unroll(full)
	for (int i = 0; i < 6; i++)
		r->args[i] = arg(c->regs, i);
	if (si && si->sockaddr) {
		s->sa.family = 0;
		bpf_probe_read_user(&s->sa, sizeof(s->sa), (void *)r->args[1]);
		if (s->sa.family == AF_UNIX) {
			bpf_probe_read_kernel_str(r->path, sizeof(s->sa.path), s->sa.path);
		} else {
			r->args[5] = s->sa.family | ((__u64)__builtin_bswap16(s->sa.port) << 16);
			key->place = r->args[5];
		}
	} else if (si && si->path) {
		__u64 p = si->path == 1 ? r->args[0] : si->path == 2 ? r->args[1] : r->args[2];

		bpf_probe_read_user_str(r->path, sizeof(r->path), (void *)p);
	}
	key->place ^= hash_place(task, si, r);
	if (si && si->special == SPECIAL_CAPSET) {
		struct cap_header h = {};
		struct cap_data d[2] = {};

		bpf_probe_read_user(&h, sizeof(h), (void *)r->args[0]);
		bpf_probe_read_user(&d[0], sizeof(d[0]), (void *)r->args[1]);
		if (h.version != 0x19980330)
			bpf_probe_read_user(&d[1], sizeof(d[1]), (void *)(r->args[1] + sizeof(d[0])));
		r->sets[0] = d[0].effective | ((__u64)d[1].effective << 32);
		r->sets[1] = d[0].permitted | ((__u64)d[1].permitted << 32);
		r->sets[2] = d[0].inheritable | ((__u64)d[1].inheritable << 32);
		key->place = r->sets[0] * 31 + r->sets[1] * 17 + r->sets[2];
	}
	old = bpf_map_lookup_elem(&refusals, key);
	if (old) {
		__sync_fetch_and_add(&old->count, 1);
		return 0;
	}
	r->count = 1;
	r->time = bpf_ktime_get_boot_ns();
	r->tid = (__u32)id;
	r->tgid = id >> 32;
	r->ppid = READ(task, real_parent, tgid);
	r->uid = READ(cred, uid.val);
	r->euid = key->uid;
	r->gid = READ(cred, gid.val);
	r->egid = READ(cred, egid.val);
	r->fsuid = READ(cred, fsuid.val);
	r->fsgid = READ(cred, fsgid.val);
	r->caps.effective = READ_CAPS(cred, cap_effective);
	r->caps.permitted = READ_CAPS(cred, cap_permitted);
	r->caps.inheritable = READ_CAPS(cred, cap_inheritable);
	r->caps.bounding = READ_CAPS(cred, cap_bset);
	r->caps.ambient = READ_CAPS(cred, cap_ambient);
	r->userns_level = READ(cred, user_ns, level);
	r->seccomp = READ(task, seccomp.mode);
	bpf_get_current_comm(r->comm, sizeof(r->comm));
	if (si && r->path[0] != '/') {
		if (si->dirfd)
			walk_fd(SLOT_SYSCALL, WALK_REFUSAL, task, si->dirfd == 1 ? r->args[0] : si->dirfd == 2 ? r->args[1] : r->args[2]);
		else if (si->fd)
			walk_fd(SLOT_SYSCALL, WALK_REFUSAL, task, (__u32)(si->fd == 1 ? r->args[0] : r->args[1]));
		else if (si->path)
			walk_fd(SLOT_SYSCALL, WALK_REFUSAL, task, AT_FDCWD);
	}
	if (bpf_map_update_elem(&refusals, key, r, BPF_NOEXIST)) {
		old = bpf_map_lookup_elem(&refusals, key);
		if (old)
			__sync_fetch_and_add(&old->count, 1);
		else
			lose(LOST_REFUSALS);
	}
	tell();
	return 0;
}

#endif
