/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The way in by kprobe, where there is neither the tracepoint nor a trampoline. */
#ifndef LEASTCAP_KPROBE_H
#define LEASTCAP_KPROBE_H

#include "check.h"

#if defined(__TARGET_ARCH_x86)
#define PARAM1(from) ((from)->di)
#define PARAM2(from) ((from)->si)
#define PARAM3(from) ((from)->dx)
#else
#define PARAM1(from) ((from)->regs[0])
#define PARAM2(from) ((from)->regs[1])
#define PARAM3(from) ((from)->regs[2])
#endif

/*
 * What cap_capable() is about to answer (security/commoncap.c; the same from 4.x
 * to 7.x). It depends on its arguments alone, so no kretprobe has to be matched
 * with its entry, and none can be missed where too many are under way at once
 * (Documentation/trace/kprobes.rst, maxactive).
 */
static __always_inline int verdict_of(const struct cred *cred, struct user_namespace *target, __u32 cap)
{
	struct user_namespace *own = READ(cred, user_ns), *ns = target;
	int level = READ(own, level);

	for (int i = 0; i < MAX_USERNS_DEPTH; i++) {
		struct user_namespace *parent;

		if (ns == own)
			return READ_CAPS(cred, cap_effective) & (1ULL << (cap & (CAPS - 1))) ? 0 : -EPERM;
		if (READ(ns, level) <= level)
			return -EPERM;
		parent = READ(ns, parent);
		if (parent == own && READ(ns, owner.val) == READ(cred, euid.val))
			return 0;
		ns = parent;
	}
	return -EPERM;
}

/* SECURE_ALL_LOCKS (include/uapi/linux/securebits.h): each lock is one bit above what it locks. */
#define SECURE_LOCKS 0xaaaaaaaa

/*
 * commoncap asks for SETPCAP itself in capset(2) and PR_SET_SECUREBITS, past
 * security_capable(), and compilers put cap_capable() inline there (gcc 12 in
 * Debian's 6.1). Both functions are hooks of a security module, called through
 * pointers, so that these can be seen.
 */
static __noinline int ask_own(void *ctx)
{
	struct task_struct *task = current_task();
	const struct cred *cred = READ(task, cred);
	struct call c = current_call(task);
	struct sysinfo *si = sysinfo_of(&c);
	struct user_namespace *ns;

	if (!is_own(&c, si))
		return 0;
	if (si->special == SPECIAL_PRCTL) {
		__u32 now = READ(cred, securebits), want = arg(c.regs, 1);

		if ((((now & SECURE_LOCKS) >> 1) & (now ^ want)) || (now & SECURE_LOCKS & ~want))
			return 0; /* refused without a question (security/commoncap.c cap_task_prctl()) */
	}
	ns = READ(cred, user_ns);
	return check_in(ctx, SLOT_OWN, false, cred, ns, CAP_SETPCAP, verdict_of(cred, ns, CAP_SETPCAP));
}

#endif
