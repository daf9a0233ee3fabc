/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What a process is to the rest of the system. */
#ifndef LEASTCAP_IDENTITY_H
#define LEASTCAP_IDENTITY_H

#include "evidence.h"

static __noinline int identify(struct task_struct *task, struct task *t, bool exited, __u32 slot)
{
	struct identity_key key = {};
	struct scratch *s = scratch(slot);
	struct group_info *groups;
	struct identity *id;
	const struct cred *cred;
	__u64 hash = 14695981039346656037ULL; /* FNV-1a */
	struct dentry *root;

	if (!s || !t)
		return 0;
	cred = LOAD_TASK(task, real_cred);
	key.scope = t->scope;
	key.exe_ino = t->exe_ino;
	key.exe_dev = t->exe_dev;
	key.exe_stamp = t->exe_stamp;
	key.uid[0] = LOAD_TASK(cred, uid.val);
	key.uid[1] = LOAD_TASK(cred, euid.val);
	key.uid[2] = LOAD_TASK(cred, suid.val);
	key.uid[3] = LOAD_TASK(cred, fsuid.val);
	key.gid[0] = LOAD_TASK(cred, gid.val);
	key.gid[1] = LOAD_TASK(cred, egid.val);
	key.gid[2] = LOAD_TASK(cred, sgid.val);
	key.gid[3] = LOAD_TASK(cred, fsgid.val);
	key.nnp = LOAD_TASK(task, atomic_flags) & 1; /* PFA_NO_NEW_PRIVS */
	key.seccomp = LOAD_TASK(task, seccomp.mode);
	key.exited = exited;
	root = READ(task, fs, root.dentry);
	key.root = (__u64)root;

	id = &s->id;
	clear(id, sizeof(*id));
	groups = LOAD_TASK(cred, group_info);
	key.ngroups = LOAD_TASK(groups, ngroups);
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
		walk_path(slot, WALK_ROOT, (__u64)READ(task, fs, root.mnt), (__u64)root);
	if (bpf_map_update_elem(&identities, &key, id, BPF_NOEXIST) && !bpf_map_lookup_elem(&identities, &key))
		lose(LOST_IDENTITIES);
	tell();
	return 0;
}

#endif
