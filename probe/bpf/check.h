/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The check: what counts, and what does not. */
#ifndef LEASTCAP_CHECK_H
#define LEASTCAP_CHECK_H

#include "evidence.h"

/* How far up it is looked for who asked: each step of it takes its time. */
#define ASKERS 12

/* Is one of these functions among those that called? */
static __always_inline bool asked_by(void *ctx, int first, int end)
{
	struct scratch *s = scratch(SLOT_CHECK);
	long n;

	if (!s)
		return false;
	n = bpf_get_stack(ctx, s->stack, ASKERS * sizeof(s->stack[0]), 0);
	for (int i = 0; i < ASKERS; i++) {
		__u64 at = s->stack[i];

		if (i * 8 >= n)
			break;
		for (int j = first; j < end; j++)
			if (at >= cfg_text[j][0] && at < cfg_text[j][1])
				return true;
	}
	return false;
}

/* Was nothing denied yet in the system call that this thread is in? */
static __always_inline bool undenied(__u32 tid)
{
	struct flight *f = flights ? bpf_map_lookup_elem(&inflight, &tid) : NULL;

	return !f || !f->n;
}

/*
 * fork(2), vfork(2) and clone(2) ask for SYS_ADMIN, beside the accounting of what they
 * copy, for a new namespace (kernel/nsproxy.c copy_namespaces()), or after another
 * capability was denied: SYS_RESOURCE beyond RLIMIT_NPROC (kernel/fork.c
 * copy_process()), PERFMON for inherited events (perfmon_capable()). Walking the stack
 * costs ten times as much as looking whether one was.
 */
static __always_inline bool plain_fork(struct call *c, __u32 tid)
{
	/* fork(2) and vfork(2) have no argument: what stands there may cost them the walk. */
#if defined(__TARGET_ARCH_x86)
	__u64 flags = LOAD(has_typed_regs(), c->regs, di);
#else
	__u64 flags = LOAD(has_typed_regs(), c->regs, orig_x0);
#endif

	return !(flags & CLONE_NEW) && undenied(tid);
}

/*
 * Without a stack to walk: is SYS_ADMIN a need of this fork, too? Together with a new user
 * namespace others are asked for in that one, whose owner the task is (decided_by()).
 */
static __always_inline bool needy_fork(struct call *c, __u32 tid)
{
	__u64 flags = arg(c->regs, 0);

	return !undenied(tid) || (c->nr == NR_CLONE && (flags & CLONE_NEW) && !(flags & CLONE_NEWUSER));
}

/*
 * security_vm_enough_memory_mm() asks for SYS_ADMIN at every mmap, brk, fork,
 * exec and page fault that accounts memory (security/commoncap.c
 * cap_vm_enough_memory()): advice to the overcommit heuristic, never a need. So
 * does the JIT at every classic filter (arch/x86/net/bpf_jit_comp.c do_jit()).
 */
static __always_inline bool advice_only(void *ctx, struct call *c, struct sysinfo *si, __u32 tid)
{
	if (si && (si->special == SPECIAL_MEMORY || (si->special == SPECIAL_FORK && plain_fork(c, tid))))
		return true;
	if (!cfg_text[0][0])
		return c->nr < 0 || (si && (si->special == SPECIAL_MEMORY_MAYBE || si->special == SPECIAL_EXEC ||
					    (si->special == SPECIAL_FORK && !needy_fork(c, tid))));
	return asked_by(ctx, 0, ADVISERS);
}

/*
 * A runtime closes what it has open before it executes the entry point, and for
 * that reads /proc/self/fd, which is root's where the process is not dumpable.
 * One's own may be read in any case (fs/proc/fd.c proc_fd_permission()).
 */
static __always_inline bool own_descriptors(void *ctx, __u32 cap)
{
	return (cap == CAP_DAC_OVERRIDE || cap == CAP_DAC_READ_SEARCH) && asked_by(ctx, ADVISERS, ADVISERS + 1);
}

/* capset(2) asks for SETPCAP always (cap_inh_is_capped()), and uses the answer only here. */
static __always_inline bool setpcap_matters(struct task_struct *task, struct call *c)
{
	struct cap_header h = {};
	struct cap_data d[2] = {};
	__u64 want, have;

	bpf_probe_read_user(&h, sizeof(h), (void *)arg(c->regs, 0));
	bpf_probe_read_user(&d[0], sizeof(d[0]), (void *)arg(c->regs, 1));
	if (h.version != 0x19980330) /* _LINUX_CAPABILITY_VERSION_1 has one word */
		bpf_probe_read_user(&d[1], sizeof(d[1]), (void *)(arg(c->regs, 1) + sizeof(d[0])));
	want = d[0].inheritable | ((__u64)d[1].inheritable << 32);
	have = READ_CAPS(READ(task, real_cred), cap_inheritable) | READ_CAPS(READ(task, real_cred), cap_permitted);
	return want & ~have;
}

/*
 * Follows cap_capable()'s walk (security/commoncap.c): is the answer given by a
 * bit of the credential (1), by owning the namespace (0), or by neither because
 * the target is not below the credential's namespace (-1)?
 */
static __always_inline int decided_by(const struct cred *cred, struct user_namespace *own, struct user_namespace *target)
{
	struct user_namespace *ns = target;

	if (target == own)
		return 1;
	for (int i = 0; i < MAX_USERNS_DEPTH; i++) {
		struct user_namespace *parent = READ(ns, parent);

		if (!parent)
			return -1;
		if (parent == own)
			return READ(ns, owner.val) == READ(cred, euid.val) ? 0 : 1;
		ns = parent;
	}
	return -1;
}

/* Is it one of the two calls whose questions commoncap asks itself, past security_capable()? */
static __always_inline bool is_own(struct call *c, struct sysinfo *si)
{
	return si && (si->special == SPECIAL_CAPSET || (si->special == SPECIAL_PRCTL && arg(c->regs, 0) == PR_SET_SECUREBITS));
}

/* What a system call returns belongs to each check that it was denied. */
static __always_inline void follow(__u32 tid, struct evidence_key *key, int ret)
{
	__u8 cap = key->cap | (key->kind == KIND_BEYOND ? FLIGHT_BEYOND : 0);
	struct flight *f = bpf_map_lookup_elem(&inflight, &tid);

	if (!f) {
		struct flight new = { .key = *key };

		if (ret) {
			new.n = 1;
			new.cap[0] = cap;
		} else {
			new.granted = 1ULL << (cap & (CAPS - 1));
		}
		flights = 1;
		if (bpf_map_update_elem(&inflight, &tid, &new, BPF_ANY))
			lose(LOST_INFLIGHT);
		return;
	}
	if (!ret) {
		f->granted |= 1ULL << (cap & (CAPS - 1));
		return;
	}
	for (int i = 0; i < FLIGHT; i++) {
		if (i >= f->n) {
			f->cap[i] = cap;
			f->n = i + 1;
			return;
		}
		if (f->cap[i] == cap)
			return;
	}
	lose(LOST_INFLIGHT);
}

static __always_inline struct memo *memo_of(__u32 cap, __s32 nr)
{
	__u32 slot = (cap ^ (cap >> 3) ^ (__u32)nr) & (MEMOS - 1);

	return bpf_map_lookup_elem(&memos, &slot);
}

/* Gives a memo's count to its evidence, and its place to another check. */
static __noinline int settle(struct memo *m)
{
	struct totals_key of = {};
	struct evidence_key key;
	struct evidence *ev;
	struct totals *sum;
	__u64 n;

	if (!m)
		return 0;
	n = m->pending;
	m->pending = 0;
	if (!n)
		return 0;
	key = m->key;
	of.scope = key.scope;
	of.phase = key.phase;
	ev = key.kind == KIND_ADVICE ? NULL : bpf_map_lookup_elem(&evidences, &key);
	if (ev)
		add(ev->count, n);
	sum = bpf_map_lookup_elem(&sums, &of);
	if (sum)
		add(sum->checks, n);
	add(checks_seen, n);
	return 0;
}

static __always_inline void keep(struct memo *m, struct evidence_key *key, struct call *c, struct user_namespace *target,
				 __u32 tid, int ret)
{
	m->ns = (__u64)target;
	m->key = *key;
	m->tid = tid;
	m->born = LOAD_TASK(current_task(), start_time);
	m->epoch = epoch;
	m->nr = c->nr;
	m->ret = ret;
	m->compat = c->compat;
	m->advice = 0;
}

/*
 * Typed says that cred and target are BTF pointers, as a tracing program's arguments
 * are; it is known when this is compiled.
 */
static __always_inline int check_in(void *ctx, __u32 slot, bool typed, const struct cred *cred, struct user_namespace *target,
				    __u32 cap, int ret)
{
	struct task_struct *task = current_task();
	const struct cred *real;
	struct evidence_key key = {};
	struct user_namespace *own;
	struct sysinfo *si;
	struct memo *m = NULL;
	struct totals *sum;
	struct scope *scope;
	struct task *t;
	struct call c;
	__u64 cg, id;
	__u32 phase, kind;
	bool foreign;
	int by;

	if (cap >= CAPS)
		return 0;
	cg = own_scope();
	id = bpf_get_current_pid_tgid();
	c = current_call(task);
	c.slot = slot;
	real = LOAD_TASK(task, real_cred);
	own = LOAD(typed, cred, user_ns);
	if (slot == SLOT_CHECK && cred == real && own == target && !(ret && cap != CAP_SYS_ADMIN)) {
		m = memo_of(cap, c.nr);
		if (m && m->key.scope == cg && m->tid == (__u32)id && m->ns == (__u64)target &&
		    m->key.cap == cap && m->nr == c.nr && m->compat == c.compat && m->ret == ret && m->epoch == epoch && m->born == LOAD_TASK(task, start_time) &&
		    (m->advice < ADVICE_OF_FORK || plain_fork(&c, (__u32)id))) {
			m->pending++;
			return 0;
		}
	}
	scope = bpf_map_lookup_elem(&scopes, &cg);
	if (!scope)
		return 0;
	if (cfg_self && id >> 32 == cfg_self)
		return 0;
	add_one(checks_seen);
	phase = phase_in(cg, scope);
	sum = totals_of(cg, phase);
	if (!sum)
		return 0;
	add_one(sum->checks);
	if (!ret)
		count(sum, KIND_PLAIN_ALL, cap);

	t = mark_of((__u32)id, id >> 32, cg);
	if ((t && (t->state == TASK_SETUP || t->state == TASK_OWN)) || is_early(scope, cg, t))
		return 0;
	if (!ret)
		count(sum, KIND_PLAIN_OWN, cap);
	if (LOAD_TASK(task, flags) & PF_KTHREAD)
		return 0;

	si = sysinfo_of(&c);
	if (cred != real) {
		/*
		 * Overridden (overlayfs: the mounter's) or another task's. Only
		 * access(2) judges with a copy of the task's own (fs/open.c
		 * access_override_creds()).
		 */
		if (!si || si->special != SPECIAL_ACCESS || cred != LOAD_TASK(task, cred) ||
		    READ_CAPS(cred, cap_permitted) != READ_CAPS(real, cap_permitted) ||
		    READ_CAPS(cred, cap_bset) != READ_CAPS(real, cap_bset))
			return 0;
	}
	/* Power over a user namespace that the workload made itself is no need of its own, but may be why it was refused. */
	foreign = scope->userns ? (__u64)own != scope->userns : scope->host && LOAD(typed, own, level);
	if (foreign && !(cfg_refusals && ret))
		return 0;
	by = decided_by(cred, own, target);
	if (by == 0)
		return 0;
	if (cap == CAP_SYS_ADMIN && advice_only(ctx, &c, si, (__u32)id)) {
		if (m && si && !foreign && !in_interrupt(task) && (si->special == SPECIAL_MEMORY || si->special == SPECIAL_FORK)) {
			settle(m);
			key.scope = cg;
			key.phase = phase;
			key.kind = KIND_ADVICE;
			key.cap = cap;
			keep(m, &key, &c, target, (__u32)id, ret);
			m->advice = si->special == SPECIAL_FORK ? ADVICE_OF_FORK : ADVICE;
		}
		return 0;
	}
	if (cap == CAP_SETPCAP && si && si->special == SPECIAL_CAPSET && !setpcap_matters(task, &c))
		return 0;
	if (cfg_own && slot == SLOT_CHECK && cap == CAP_SETPCAP && is_own(&c, si))
		return 0; /* ask_own() counts it */
	if (t && t->state == TASK_LAUNCH && own_descriptors(ctx, cap))
		return 0;
	if (in_interrupt(task))
		return 0;

	kind = !ret ? KIND_GRANTED : by < 0 ? KIND_BEYOND : KIND_DENIED;
	key.scope = cg;
	key.phase = phase;
	key.kind = kind;
	key.cap = cap;
	key.nr = c.compat && c.nr >= 0 ? c.nr | COMPAT_NR : c.nr;
	if (foreign) {
		key.launch = KEY_FOREIGN;
	} else if (t && t->state == TASK_LAUNCH) {
		/* Until the exec, another capset(2) may still void this. */
		key.launch = 1;
		if (kind == KIND_GRANTED)
			t->granted |= 1ULL << cap;
		else if (kind == KIND_DENIED)
			t->denied |= 1ULL << cap;
		else
			t->beyond |= 1ULL << cap;
	} else {
		count(sum, kind, cap);
	}
	if (!foreign && note(ctx, &key, &c, si) && m && !ret && !cfg_refusals && !key.launch && cap != CAP_SETPCAP) {
		settle(m);
		keep(m, &key, &c, target, (__u32)id, ret);
	}
	if ((ret || cfg_refusals) && c.nr >= 0)
		follow((__u32)id, &key, ret);
	return 0;
}

/* For tracing programs. */
static __always_inline int on_check(void *ctx, const struct cred *cred, struct user_namespace *target, __u32 cap, int ret)
{
	return check_in(ctx, SLOT_CHECK, true, cred, target, cap, ret);
}

#endif
