/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* What the loader sets, the maps, and what is lost. */
#ifndef LEASTCAP_MAPS_H
#define LEASTCAP_MAPS_H

#include "kernel.h"
#include "leastcap.h"

/* Which hierarchy tells scopes apart: a v1 controller's index, or -1 for the v2 tree. */
volatile const __s32 cfg_subsys = -1;
/* Kernel text of the functions that ask for SYS_ADMIN as advice, then of
 * proc_fd_permission(); 0 where kallsyms is hidden. */
#define ADVISERS 4
volatile const __u64 cfg_text[ADVISERS + 1][2];
/* x86: addresses of __per_cpu_offset[] and of what holds preempt_count; 0 where hidden. */
volatile const __u64 cfg_per_cpu_offset, cfg_preempt_count, cfg_pcpu_hot;

/* Does the way in miss what commoncap asks itself? Then ask_own() asks. */
volatile const __u32 cfg_own;
/* Bytes of a kernel stack, for kernels without bpf_task_pt_regs(). */
volatile const __u32 cfg_thread_size;
/* Refusals are followed, whatever the reason. */
volatile const __u8 cfg_refusals;
/* Whose own checks are none of anybody's: leastcap's process, 0 = unknown. */
volatile const __u32 cfg_self;

__u64 lost[LOST_KINDS];
__u32 flights;     /* 1 once a denied check was followed: until then no call has to be looked up */
__u32 phased;      /* 1 once a phase was set: until then none has to be looked up */
__u32 epoch;       /* grows with each change of what a thread is that may have memos, or of a phase: memos end with it */
__u64 news;        /* grows with each first of a kind: until it does, nobody has to look again */
__u64 checks_seen[STRIPES] __attribute__((aligned(64))); /* in any scope, so that "saw nothing" can be told from "was blind" */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct scope);
} scopes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} phases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct totals_key);
	__type(value, struct totals);
} sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct evidence_key);
	__type(value, struct evidence);
} evidences SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct task);
} tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct flight);
} inflight SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct exe_key);
	__type(value, struct exe);
} exes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct identity_key);
	__type(value, struct identity);
} identities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, struct port_key);
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MEMOS);
	__type(key, __u32);
	__type(value, struct memo);
} memos SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct refusal_key);
	__type(value, struct refusal);
} refusals SEC(".maps");

/* By thread: 1 between a system call's beginning and its end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} entered SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sysinfo);
} sysinfos SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} execs SEC(".maps");

/*
 * Values too large for the 512-byte stack are built here. Each program has a
 * slot of its own: a program may be preempted by another on the same CPU, never
 * by itself (kernel/bpf/trampoline.c, its recursion counter).
 */
enum slot {
	SLOT_CHECK, SLOT_OWN, SLOT_SYSCALL, SLOT_EXEC, SLOT_EXIT, SLOT_CGROUP, SLOT_ATTACH, SLOT_ADOPT, SLOTS
};
struct scratch {
	__u64 stack[STACK];
	struct sockaddr_any sa;
	struct evidence ev;
	struct exe exe;
	struct identity id;
	struct scope scope;
	__u32 run, pad;
	struct refusal refusal;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* New map entries start from zeroes that are too large for the stack and for memset(). */
static const __u8 zeroes[4096];

/* Makes bpf2go see the types that only user space uses by name. */
const struct exec_event *unused_exec_event __attribute__((unused));
const struct capstate *unused_capstate __attribute__((unused));
const enum begun *unused_begun __attribute__((unused));
const enum kind *unused_kind __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum special *unused_special __attribute__((unused));

/* The copy keeps accesses to our own structures (c->regs) from being relocated too. */
#define READ(src, ...) ({ typeof(src) from_ = (src); BPF_CORE_READ(from_, __VA_ARGS__); })

/* All of a kernel_cap_t, whatever it is made of in this kernel. */
#define READ_CAPS(src, set) ({ \
	typeof(src) of_ = (src); \
	__u64 caps_ = 0; \
	bpf_core_read(&caps_, sizeof(caps_), &of_->set); \
	caps_; })

/*
 * Loads through BTF pointers cost a fraction of bpf_probe_read_kernel(): where a
 * pointer is one, which is known when the programs are compiled or loaded.
 */
#define LOAD(typed, src, field) ((typed) ? (src)->field : READ(src, field))

/* Is the current task's pointer one? (since 5.11) */
static __always_inline bool has_typed_task(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id___known, BPF_FUNC_get_current_task_btf___known);
}

static __always_inline struct task_struct *current_task(void)
{
	if (has_typed_task())
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

#define LOAD_TASK(task, field) LOAD(has_typed_task(), task, field)

static __always_inline struct scratch *scratch(__u32 slot)
{
	return bpf_map_lookup_elem(&scratches, &slot);
}

static __always_inline void clear(void *to, __u32 size)
{
	_Static_assert(sizeof(struct totals) <= sizeof(zeroes), "totals outgrew their zeroes");
	_Static_assert(sizeof(struct evidence) <= sizeof(zeroes), "evidence outgrew its zeroes");
	_Static_assert(sizeof(struct refusal) <= sizeof(zeroes), "refusals outgrew their zeroes");
	bpf_probe_read_kernel(to, size, zeroes);
}

static __always_inline void lose(enum loss what)
{
	__sync_fetch_and_add(&lost[what], 1);
}

static __always_inline void add(__u64 *stripes, __u64 n)
{
	__sync_fetch_and_add(&stripes[(bpf_get_smp_processor_id() & 7) * 8], n);
}

static __always_inline void add_one(__u64 *stripes)
{
	add(stripes, 1);
}

/* What is told is there already: who reads the news first, and then the maps, misses nothing. */
static __always_inline void tell(void)
{
	__sync_fetch_and_add(&news, 1);
}

#endif
