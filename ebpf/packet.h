/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What a packet's headers say. */
#pragma once
#include "process.h"

enum { AF_INET = 2, AF_INET6 = 10 };
enum { ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_IPV6 = 0x86dd };
enum { TCP_TIME_WAIT = 6, TCP_NEW_SYN_RECV = 12 };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

#define SWAP16(x) __builtin_bswap16(x)

struct tuple {
	u8 source[16]; /* IPv4 fills the first four */
	u8 destination[16];
	u16 source_port;
	u16 destination_port;
	u16 family; /* 0: no addresses */
	u8 protocol; /* of the transport; meaningful with a family */
	u8 tcp_flags;
};

/* The ports and flags at the start of a transport header. */
INLINE void read_transport(struct tuple *out, const u8 *transport)
{
	u16 ports[2] = {};

	if (out->protocol != PROTOCOL_TCP && out->protocol != PROTOCOL_UDP)
		return;
	if (bpf_probe_read_kernel(ports, sizeof(ports), transport))
		return;
	out->source_port = SWAP16(ports[0]);
	out->destination_port = SWAP16(ports[1]);
	if (out->protocol == PROTOCOL_TCP)
		bpf_probe_read_kernel(&out->tcp_flags, 1, transport + 13);
}

INLINE void read_ipv4(struct tuple *out, const u8 *header)
{
	u8 bytes[20] = {};
	u16 fragment;

	if (bpf_probe_read_kernel(bytes, sizeof(bytes), header) || (bytes[0] >> 4) != 4)
		return;
	out->family = AF_INET;
	out->protocol = bytes[9];
	__builtin_memcpy(out->source, bytes + 12, 4);
	__builtin_memcpy(out->destination, bytes + 16, 4);
	fragment = (bytes[6] & 0x1f) << 8 | bytes[7];
	if (!fragment)
		read_transport(out, header + (bytes[0] & 0xf) * 4);
}

INLINE void read_ipv6(struct tuple *out, const u8 *header)
{
	u8 bytes[40] = {};

	if (bpf_probe_read_kernel(bytes, sizeof(bytes), header) || (bytes[0] >> 4) != 6)
		return;
	out->family = AF_INET6;
	out->protocol = bytes[6];
	__builtin_memcpy(out->source, bytes + 8, 16);
	__builtin_memcpy(out->destination, bytes + 24, 16);
	/* Behind an extension header the protocol names that header, and there are no ports here. */
	read_transport(out, header + sizeof(bytes));
}

/* Connections that are being made, or wait for their end, are shorter structs than a socket. */
INLINE bool is_full_socket(struct sock *sk)
{
	u8 state = READ(sk->__sk_common.skc_state);

	return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

/* The cgroup of a socket: that of the process that made it. */
INLINE void read_socket_cgroups(struct cgroup_ids *out, struct sock *sk)
{
	struct mem_cgroup *memcg = NULL;

	__builtin_memset(out, 0, sizeof(*out));
	if (!sk || !is_full_socket(sk))
		return;
	if (EXISTS(sk->sk_cgrp_data.cgroup))
		out->unified = cgroup_id(READ(sk->sk_cgrp_data.cgroup));
	if (EXISTS(sk->sk_memcg))
		memcg = READ(sk->sk_memcg);
	if (memcg)
		read_memory_cgroup(out, READ(memcg->css.cgroup));
}
