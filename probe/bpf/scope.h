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
 * The same for the current task, for the hot paths: loads through BTF pointers
 * cost a fraction of bpf_probe_read_kernel().
 */
static __always_inline __u64 own_scope(void)
{
	struct cgroup_subsys_state *css = NULL;
	struct task_struct *task;
	struct css_set *set;

	if (!bpf_core_enum_value_exists(enum bpf_func_id___known, BPF_FUNC_get_current_task_btf___known))
		return scope_of((struct task_struct *)bpf_get_current_task());
	task = bpf_get_current_task_btf();
	set = task->cgroups;
	if (cfg_subsys < 0)
		return set->dfl_cgrp->kn->id;
	bpf_probe_read_kernel(&css, sizeof(css),
		(void *)set + bpf_core_field_offset(set->subsys) + 8 * (__u64)(cfg_subsys & 15));
	return READ(css, cgroup, kn, id);
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

/*
 * A process that is moved into a cgroup acts there a moment before its mark is set:
 * the tracepoint comes after the migration (kernel/cgroup/cgroup.c
 * cgroup_attach_task()). Before anything was launched in a scope only a runtime can
 * be there without one.
 */
static __always_inline bool is_early(struct scope *scope, struct task *t)
{
	return !t && scope->born && !scope->launched;
}

static __always_inline void set_mark(__u32 tid, struct task *t)
{
	if (bpf_map_update_elem(&tasks, &tid, t, BPF_ANY))
		lose(LOST_TASKS);
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
	bpf_map_update_elem(&sums, &key, &zeroes, BPF_NOEXIST);
	t = bpf_map_lookup_elem(&sums, &key);
	if (!t)
		lose(LOST_TOTALS);
	return t;
}

static __always_inline void count(struct totals *t, __u32 kind, __u32 cap)
{
	asm volatile("" : "+r"(cap)); /* or the mask is left out, where the verifier has lost the bounds in a spill */
	if (kind < KINDS)
		__sync_fetch_and_add(&t->n[kind][cap & (CAPS - 1)], 1);
}

static __always_inline void count_set(struct totals *t, __u32 kind, __u64 set)
{
	for (int i = 0; i < CAPS; i++)
		if (set & (1ULL << i))
			count(t, kind, i);
}

#endif
