/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Where a task belongs, and the counters of that place. */
#ifndef LEASTCAP_SCOPE_H
#define LEASTCAP_SCOPE_H

#include "maps.h"

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

/*
 * The same for a BTF pointer, for the hot paths: loads through BTF pointers
 * cost a fraction of bpf_probe_read_kernel(). CO-RE relocates no variable index,
 * so that there is a case for each; the verifier knows which one it is.
 */
static __always_inline __u64 typed_scope_of(struct task_struct *task)
{
	struct css_set *set = task->cgroups;

#define OF_SUBSYS(i) case i: return set->subsys[i]->cgroup->kn->id
	switch (cfg_subsys) {
	OF_SUBSYS(0); OF_SUBSYS(1); OF_SUBSYS(2); OF_SUBSYS(3); OF_SUBSYS(4); OF_SUBSYS(5); OF_SUBSYS(6); OF_SUBSYS(7);
	OF_SUBSYS(8); OF_SUBSYS(9); OF_SUBSYS(10); OF_SUBSYS(11); OF_SUBSYS(12); OF_SUBSYS(13); OF_SUBSYS(14);
	}
#undef OF_SUBSYS
	return set->dfl_cgrp->kn->id;
}

static __always_inline __u64 own_scope(void)
{
	if (!has_typed_task())
		return scope_of((struct task_struct *)bpf_get_current_task());
	return typed_scope_of(bpf_get_current_task_btf());
}

/* Ids of different hierarchies may collide: is this cgroup in ours? */
static __always_inline bool our_hierarchy(struct cgroup *cg)
{
	struct cgroup *own = cgroup_of((struct task_struct *)bpf_get_current_task());
	return READ(cg, root) == READ(own, root);
}

static __always_inline __u32 phase_in(__u64 id, struct scope *scope)
{
	__u32 *p = phased ? bpf_map_lookup_elem(&phases, &id) : NULL;

	if (p)
		return *p;
	return scope ? scope->phase : 0;
}

static __always_inline __u32 phase_of(__u64 id)
{
	return phase_in(id, bpf_map_lookup_elem(&scopes, &id));
}

/*
 * A thread's own mark, or its process's: only the leader is moved by name, so
 * that a thread's may be of the cgroup that the process has left.
 */
static __always_inline struct task *mark_of(__u32 tid, __u32 tgid, __u64 cg)
{
	struct task *t = bpf_map_lookup_elem(&tasks, &tid);
	struct task *leader;

	if ((t && t->scope == cg) || tid == tgid)
		return t;
	leader = bpf_map_lookup_elem(&tasks, &tgid);
	if (leader && (!t || leader->scope == cg))
		return leader;
	return t;
}

/* Of a thread that has just begun: no memo is its own. */
static __always_inline void set_first_mark(__u32 tid, struct task *t)
{
	if (bpf_map_update_elem(&tasks, &tid, t, BPF_ANY))
		lose(LOST_TASKS);
}

static __always_inline void set_mark(__u32 tid, struct task *t)
{
	__sync_fetch_and_add(&epoch, 1);
	set_first_mark(tid, t);
}

/* Is a cgroup another one, or below it? One that is not registered is not. */
static __always_inline bool is_below(__u64 id, __u64 home)
{
	for (int i = 0; i <= HOME_DEPTH; i++) {
		struct scope *scope;

		if (id == home)
			return true;
		scope = bpf_map_lookup_elem(&scopes, &id);
		if (!scope)
			return false;
		id = scope->parent;
	}
	return false;
}

/* Is a cgroup the host's own, and no container's? */
static __always_inline bool is_host(__u64 id)
{
	struct scope *scope = bpf_map_lookup_elem(&scopes, &id);

	return scope && scope->host;
}

/*
 * A process that is moved into a cgroup acts there a moment before its mark is set:
 * the tracepoint comes after the migration (kernel/cgroup/cgroup.c
 * cgroup_attach_task()). Before anything was launched in a scope only a runtime can
 * be there without one, or with one of the host's that it had before. On the host no
 * runtime is waited for.
 */
static __always_inline bool is_early(struct scope *scope, __u64 cg, struct task *t)
{
	if (!scope->born || scope->launched || scope->host)
		return false;
	return !t || (t->state == TASK_WORKLOAD && t->scope != cg && is_host(t->home));
}

/*
 * Every engine puts the id, of 64 hexadecimal digits, into the name of a
 * container's cgroup; Podman and CRI-O put it into their monitor's too
 * ("libpod-conmon-ID"), and Podman the pod's into the pod's ("libpod_pod_ID").
 */
static __noinline int has_container_id(struct scratch *s)
{
	/* In memory: numbers in a register multiply what the verifier follows. */
	volatile __u32 *run;

	if (!s)
		return 0;
	run = &s->run;
	*run = 0;
	for (int i = 0; i < NAME_LEN; i++) {
		__u8 c = s->scope.name[i];

		if (!c)
			break;
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
			*run += 1;
		else
			*run = 0;
		if (*run == 64)
			return i < 65 || (s->scope.name[(i - 65) & (NAME_LEN - 1)] != 'n' &&
					  s->scope.name[(i - 64) & (NAME_LEN - 1)] != '_');
	}
	return 0;
}

/* A workload's process came into a cgroup: outside its home it is not seen as the workload's. */
static __always_inline void check_home(__u64 id, __u64 home)
{
	struct scope *scope;

	if (is_below(id, home))
		return;
	scope = bpf_map_lookup_elem(&scopes, &home);
	if (scope)
		__sync_fetch_and_add(&scope->moved, 1);
	else
		lose(LOST_MOVED);
}

static __always_inline struct totals *totals_of(__u64 scope, __u32 phase)
{
	struct totals_key key = { .scope = scope, .phase = phase };
	struct totals *t = bpf_map_lookup_elem(&sums, &key);

	if (t)
		return t;
	bpf_map_update_elem(&sums, &key, zeroes, BPF_NOEXIST);
	tell();
	t = bpf_map_lookup_elem(&sums, &key);
	if (!t)
		lose(LOST_TOTALS);
	return t;
}

static __always_inline void count(struct totals *t, __u32 kind, __u32 cap)
{
	__u8 *has;

	asm volatile("" : "+r"(cap)); /* or the mask is left out, where the verifier has lost the bounds in a spill */
	if (kind >= KINDS)
		return;
	has = &t->has[kind][cap & (CAPS - 1)];
	if (!*has)
		*has = 1;
}

static __always_inline void count_set(struct totals *t, __u32 kind, __u64 set)
{
	for (int i = 0; i < CAPS; i++)
		if (set & (1ULL << i))
			count(t, kind, i);
}

#endif
