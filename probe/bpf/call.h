/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* The system call that a task is in, and whether it is in one at all. */
#ifndef LEASTCAP_CALL_H
#define LEASTCAP_CALL_H

#include "maps.h"

struct call {
	struct pt_regs *regs;
	__s32 nr; /* -1: none (page fault, kernel entry by other ways) */
	__u32 slot; /* of the program's scratch */
	bool compat;
	bool failed;       /* known to have failed, where the caller is at its exit */
	bool has_sets;
	__u64 sets[3]; /* capset(2)'s, in place of the arguments */
};

static __always_inline __u64 arg(struct pt_regs *regs, int i)
{
#if defined(__TARGET_ARCH_x86)
	switch (i) {
	case 0: return READ(regs, di);
	case 1: return READ(regs, si);
	case 2: return READ(regs, dx);
	case 3: return READ(regs, r10);
	case 4: return READ(regs, r8);
	default: return READ(regs, r9);
	}
#else
	switch (i) {
	case 0: return READ(regs, orig_x0);
	case 1: return READ(regs, regs[1]);
	case 2: return READ(regs, regs[2]);
	case 3: return READ(regs, regs[3]);
	case 4: return READ(regs, regs[4]);
	default: return READ(regs, regs[5]);
	}
#endif
}

/* Is it in a system call of the 32-bit table? */
static __always_inline bool is_compat(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return LOAD_TASK(task, thread_info.status) & 2; /* TS_COMPAT */
#else
	return LOAD_TASK(task, thread_info.flags) & (1UL << 22); /* TIF_32BIT */
#endif
}

/* Does the kernel give a BTF pointer to the registers that a system call saved? (since 5.15) */
static __always_inline bool has_typed_regs(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id___known, BPF_FUNC_task_pt_regs___known);
}

/* arch/x86/include/asm/processor.h and arch/arm64/include/asm/processor.h: task_pt_regs() */
static __always_inline struct pt_regs *user_regs(struct task_struct *task)
{
	if (has_typed_regs())
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return READ(task, stack) + cfg_thread_size - bpf_core_type_size(struct pt_regs);
}

/*
 * Of the task that current_task() gives. On x86 an exception leaves its error code where the system call's number
 * stands. A system call in progress has ax preset to -ENOSYS
 * (arch/x86/entry/entry_64.S, PUSH_AND_CLEAR_REGS rax=$-ENOSYS).
 */
static __always_inline struct call current_call(struct task_struct *task)
{
	struct call c = { .nr = -1, .slot = SLOT_CHECK };

	c.regs = user_regs(task);
	if (!c.regs)
		return c;
#if defined(__TARGET_ARCH_x86)
	if ((__s64)LOAD(has_typed_regs(), c.regs, ax) == -ENOSYS)
		c.nr = (__s32)LOAD(has_typed_regs(), c.regs, orig_ax);
#else
	c.nr = LOAD(has_typed_regs(), c.regs, syscallno);
#endif
	c.compat = is_compat(task);
	return c;
}

static __always_inline struct sysinfo *sysinfo_of(struct call *c)
{
	__u32 nr = c->nr;

	if (c->nr < 0 || c->compat)
		return NULL;
	return bpf_map_lookup_elem(&sysinfos, &nr);
}

/* Hard or soft interrupt or NMI: current is there by accident (include/linux/preempt.h in_task()). */
static __always_inline bool in_interrupt(struct task_struct *task)
{
	__u32 n = 0;
#if defined(__TARGET_ARCH_x86)
	__u64 base = 0, at = cfg_preempt_count;

	if (!at && cfg_pcpu_hot && bpf_core_type_exists(struct pcpu_hot))
		at = cfg_pcpu_hot + bpf_core_field_offset(((struct pcpu_hot *)0)->preempt_count);
	if (!at || !cfg_per_cpu_offset)
		return false;
	bpf_probe_read_kernel(&base, sizeof(base),
		(void *)(cfg_per_cpu_offset + 8 * (__u64)bpf_get_smp_processor_id()));
	bpf_probe_read_kernel(&n, sizeof(n), (void *)(base + at));
#else
	n = READ(task, thread_info.preempt.count);
#endif
	return n & 0x00ff0100; /* NMI, hard interrupt, serving a soft interrupt */
}

#endif
