// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * The kernel's symbols as /proc/kallsyms has them, for where kernel.kptr_restrict hides
 * addresses there: an iterator reads them all the same (since 6.0: kernel/kallsyms.c
 * struct kallsym_iter, whose show_value concerns only what s_show() prints).
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kallsym_iter { unsigned long value; char type, name[1]; };

#pragma clang attribute pop

/* What the iterator hands over. */
struct bpf_iter__ksym { struct bpf_iter_meta *meta; struct kallsym_iter *ksym; };

SEC("iter/ksym")
int list_symbols(struct bpf_iter__ksym *ctx)
{
	struct kallsym_iter *s = ctx->ksym;
	char format[] = "%llx %s %s\n", type[2] = {};
	__u64 args[3];

	if (!s)
		return 0; /* the end */
	type[0] = s->type;
	args[0] = s->value;
	args[1] = (__u64)type;
	args[2] = (__u64)s->name;
	bpf_seq_printf(ctx->meta->seq, format, sizeof(format), args, sizeof(args));
	return 0;
}
