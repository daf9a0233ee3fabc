/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Needs that make no check: capset, the ambient set, low ports, ping sockets. */
#ifndef LEASTCAP_SILENT_H
#define LEASTCAP_SILENT_H

#include "evidence.h"

static __always_inline void see_net(struct scope *scope, struct task_struct *task)
{
	struct net *net = READ(task, nsproxy, net_ns);

	scope->port_start = READ(net, ipv4.sysctl_ip_prot_sock);
	scope->ping_low = READ(net, ipv4.ping_group_range.range[0].val);
	scope->ping_high = READ(net, ipv4.ping_group_range.range[1].val);
	scope->have_net = 1;
}

static __always_inline void see_port(__u64 cg, struct port_key *key)
{
	struct port *p, new = { .count = 1 };

	key->scope = cg;
	p = bpf_map_lookup_elem(&ports, key);
	if (p) {
		__sync_fetch_and_add(&p->count, 1);
		return;
	}
	new.tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(new.comm, sizeof(new.comm));
	if (bpf_map_update_elem(&ports, key, &new, BPF_ANY))
		lose(LOST_PORTS);
	tell();
}

static __always_inline int see_capset(void *ctx, struct task_struct *task, struct call *c, struct scope *scope,
				      __u64 cg, struct task *t, long ret)
{
	struct evidence_key key = {};
	struct cap_header h = {};
	struct cap_data d[2] = {};
	const struct cred *cred;
	struct totals *sum;
	__u64 id, *sets = c->sets;
	__u32 phase;

	id = bpf_get_current_pid_tgid();
	if (t && t->state != TASK_WORKLOAD) {
		struct task mark = { .scope = cg, .state = TASK_LAUNCH };

		if (ret)
			return 0;
		cred = READ(task, real_cred);
		if (!scope->launched) {
			scope->userns = (__u64)READ(cred, user_ns);
			scope->userns_inum = READ(cred, user_ns, ns.inum);
			scope->launch.effective = READ_CAPS(cred, cap_effective);
			scope->launch.permitted = READ_CAPS(cred, cap_permitted);
			scope->launch.inheritable = READ_CAPS(cred, cap_inheritable);
			scope->launch.bounding = READ_CAPS(cred, cap_bset);
			scope->launch.ambient = READ_CAPS(cred, cap_ambient);
		}
		__sync_fetch_and_add(&scope->launched, 1);
		set_mark((__u32)id, &mark); /* forgets what was pending */
		return 0;
	}
	bpf_probe_read_user(&h, sizeof(h), (void *)arg(c->regs, 0));
	bpf_probe_read_user(&d[0], sizeof(d[0]), (void *)arg(c->regs, 1));
	if (h.version != 0x19980330)
		bpf_probe_read_user(&d[1], sizeof(d[1]), (void *)(arg(c->regs, 1) + sizeof(d[0])));
	sets[0] = d[0].effective | ((__u64)d[1].effective << 32);
	sets[1] = d[0].permitted | ((__u64)d[1].permitted << 32);
	sets[2] = d[0].inheritable | ((__u64)d[1].inheritable << 32);
	phase = phase_of(cg);
	sum = totals_of(cg, phase);
	if (!sum)
		return 0;
	key.scope = cg;
	key.phase = phase;
	key.kind = ret ? KIND_CAPSET_FAILED : KIND_CAPSET;
	key.cap = 0xff;
	count_set(sum, key.kind, sets[0] | sets[1] | sets[2]);
	key.nr = (__s32)((sets[1] ^ (sets[1] >> 32)) * 31 + (sets[0] ^ (sets[0] >> 32)) + sets[2]);
	c->has_sets = true;
	c->failed = ret != 0;
	note(ctx, &key, c, NULL);
	return 0;
}

static __always_inline int see_prctl(void *ctx, struct call *c, struct sysinfo *si, __u64 cg, struct task *t, long ret)
{
	__u64 option = arg(c->regs, 0);
	struct evidence_key key = {};
	struct totals *sum;

	if (t && t->state != TASK_WORKLOAD)
		return 0;
	if (option == PR_CAP_AMBIENT && arg(c->regs, 1) == PR_CAP_AMBIENT_RAISE) {
		key.kind = ret ? KIND_AMBIENT_FAILED : KIND_AMBIENT;
		key.cap = arg(c->regs, 2) & (CAPS - 1);
	} else if (option == PR_CAPBSET_DROP && !ret) {
		key.kind = KIND_BOUND_DROPPED;
		key.cap = arg(c->regs, 1) & (CAPS - 1);
	} else {
		return 0;
	}
	key.scope = cg;
	key.phase = phase_of(cg);
	key.nr = c->nr;
	sum = totals_of(cg, key.phase);
	if (!sum)
		return 0;
	count(sum, key.kind, key.cap);
	c->failed = ret != 0;
	note(ctx, &key, c, si);
	return 0;
}

static __always_inline void see_bind(struct task_struct *task, struct call *c, struct scope *scope, __u64 cg)
{
	struct { __u16 family; __be16 port; } sa = {}; /* all of it takes too much of the stack */
	struct port_key key = {};
	struct socket *sock;
	struct file *f;

	bpf_probe_read_user(&sa, sizeof(sa), (void *)arg(c->regs, 1));
	key.port = __builtin_bswap16(sa.port);
	if ((sa.family != AF_INET && sa.family != AF_INET6) || !key.port || key.port >= 1024)
		return;
	key.family = sa.family;
	f = file_of(task, (__u32)arg(c->regs, 0));
	if (f) {
		sock = READ(f, private_data);
		key.type = READ(sock, type);
	}
	see_net(scope, task);
	see_port(cg, &key);
}

static __always_inline void see_socket(struct task_struct *task, struct call *c, struct scope *scope, __u64 cg)
{
	__u64 family = arg(c->regs, 0), type = arg(c->regs, 1) & 0xf, protocol = arg(c->regs, 2);
	struct port_key key = {};

	if ((family != AF_INET && family != AF_INET6) || type != SOCK_DGRAM ||
	    (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6))
		return;
	key.family = family;
	key.type = type;
	key.ping = 1;
	see_net(scope, task);
	see_port(cg, &key);
}

#endif
