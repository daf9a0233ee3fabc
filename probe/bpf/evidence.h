/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Evidence: the first of each kind, with its path, and how many there were. */
#ifndef LEASTCAP_EVIDENCE_H
#define LEASTCAP_EVIDENCE_H

#include "call.h"
#include "scope.h"

/* Which of a program's scratch gets a path. */
enum walk_of { WALK_EVIDENCE, WALK_EXE, WALK_ROOT, WALK_REFUSAL };

/*
 * Not static: a global function is verified once, and not again at each call.
 * Its arguments are numbers, since before 5.12 it may not have pointers
 * (kernel/bpf/btf.c btf_prepare_func_args()).
 */
__noinline int walk_path(__u32 slot, __u32 of, __u64 vfsmnt, __u64 leaf)
{
	struct mount *mnt = container_of((struct vfsmount *)vfsmnt, struct mount, mnt);
	struct dentry *dentry = (struct dentry *)leaf;
	struct scratch *s = scratch(slot);
	/* In memory: a length in a register multiplies what the verifier follows. */
	volatile __u32 *len;
	struct walk *w;

	if (!s)
		return 0;
	w = of == WALK_EXE ? &s->exe.walk : of == WALK_ROOT ? &s->id.root : of == WALK_REFUSAL ? &s->refusal.walk : &s->ev.walk;
	len = &w->len;
	*len = 0;
	w->truncated = 1;
	for (int i = 0; i < WALK_STEPS; i++) {
		struct dentry *parent;
		__u32 at;
		long n;

		if (dentry == READ(mnt, mnt.mnt_root)) {
			struct mount *up = READ(mnt, mnt_parent);

			if (up == mnt || !up) {
				w->truncated = 0;
				return 0;
			}
			dentry = READ(mnt, mnt_mountpoint);
			mnt = up;
			continue;
		}
		at = *len;
		if (at >= WALK_LEN)
			return 0;
		n = bpf_probe_read_kernel_str(&w->names[at & (WALK_LEN - 1)], WALK_NAME, READ(dentry, d_name.name));
		*len = at + n;
		parent = READ(dentry, d_parent);
		if (parent == dentry || !parent) { /* memfd, pipe: no place in a tree */
			w->truncated = 0;
			return 0;
		}
		dentry = parent;
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

static __always_inline void walk_fd(__u32 slot, __u32 of, struct task_struct *task, __s32 fd)
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
		walk_path(slot, of, (__u64)mnt, (__u64)dentry);
}

static __always_inline void fill_path(struct evidence *ev, struct sockaddr_any *sa, struct task_struct *task,
				      struct sysinfo *si, __u32 slot)
{
	__u64 *args = ev->args;

	if (!si)
		return;
	if (si->sockaddr) {
		sa->family = 0;
		bpf_probe_read_user(sa, sizeof(*sa), (void *)args[1]);
		if (sa->family == AF_UNIX)
			bpf_probe_read_kernel_str(ev->path, sizeof(sa->path), sa->path);
		else
			args[5] = sa->family | ((__u64)__builtin_bswap16(sa->port) << 16);
		return;
	}
	if (si->path) {
		__u64 p = si->path == 1 ? args[0] : si->path == 2 ? args[1] : args[2];

		bpf_probe_read_user_str(ev->path, sizeof(ev->path), (void *)p);
		if (ev->path[0] == '/')
			return;
		if (si->dirfd)
			walk_fd(slot, WALK_EVIDENCE, task, si->dirfd == 1 ? args[0] : si->dirfd == 2 ? args[1] : args[2]);
		else
			walk_fd(slot, WALK_EVIDENCE, task, AT_FDCWD);
		return;
	}
	if (si->fd)
		walk_fd(slot, WALK_EVIDENCE, task, (__u32)(si->fd == 1 ? args[0] : args[1]));
}

/* Says whether it is kept. */
static __noinline int note(void *ctx, struct evidence_key *key, struct call *c, struct sysinfo *si)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct evidence *ev = bpf_map_lookup_elem(&evidences, key);
	struct scratch *s;
	struct task *t;
	__u64 id;

	if (ev) {
		add_one(ev->count);
		if (c->failed)
			__sync_fetch_and_add(&ev->failed, 1);
		return 1;
	}
	s = scratch(c->slot);
	if (!s)
		return 0;
	ev = &s->ev;
	clear(ev, sizeof(*ev));
	id = bpf_get_current_pid_tgid();
	ev->count[0] = 1;
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
	t = mark_of(ev->tid, ev->tgid, key->scope);
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
		/* Unrolled: kernels before 6.8 refuse how a switch in a loop is laid out. */
#pragma clang loop unroll(full)
		for (int i = 0; i < 6; i++)
			ev->args[i] = arg(c->regs, i);
		fill_path(ev, &s->sa, task, si, c->slot);
	}
	ev->nstack = bpf_get_stack(ctx, ev->stack, sizeof(ev->stack), 0);
	if (!bpf_map_update_elem(&evidences, key, ev, BPF_NOEXIST)) {
		tell();
		return 1;
	}
	ev = bpf_map_lookup_elem(&evidences, key); /* another CPU was first, or the map is full */
	if (!ev) {
		lose(LOST_EVIDENCE);
		tell();
		return 0;
	}
	add_one(ev->count);
	if (c->failed)
		__sync_fetch_and_add(&ev->failed, 1);
	return 1;
}

#endif
