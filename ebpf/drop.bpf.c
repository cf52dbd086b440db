/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* kernel.net.packet_drop: a packet is freed because it was dropped. The hottest of the hooks: it decides early. */
#include "hook.h"
#include "packet.h"

#define REASONS 512
#define DROP_FRAMES 32

struct drop_record {
	struct record_head head;
	struct cgroup_ids cgroups;
	u64 location; /* becomes a symbol in the reader and goes no further */
	struct tuple tuple;
	u32 reason;
	u32 netns;
	s32 interface;
	u32 bytes;
	u16 ethertype;
	u8 has_reason;
	u8 unused;
	u32 frames;
	char interface_name[16];
	u64 stack[DROP_FRAMES];
};

const volatile bool drop_stacks;

/* Reasons that are counted as ignored and not recorded; set before the hook is attached. */
struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, REASONS);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u8);
} drop_ignored SEC(".maps");

INLINE bool is_unspecified(u32 reason, bool has_reason)
{
	if (!has_reason || !ENUM_EXISTS(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED))
		return true;
	return reason == ENUM_VALUE(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED);
}

INLINE bool is_ignored(struct sk_buff *skb, u32 reason, bool has_reason)
{
	u8 *ignored = has_reason ? bpf_map_lookup_elem(&drop_ignored, &reason) : NULL;

	if (ignored && *ignored)
		return true;
	/* What is no packet of a network (unix and netlink sockets) has no protocol, and is freed without a reason. */
	return is_unspecified(reason, has_reason) && READ(skb->protocol) == 0;
}

INLINE void read_device(struct drop_record *out, struct sk_buff *skb, struct sock *sk)
{
	struct net_device *dev = READ(skb->dev);

	/* In a UDP socket's queue the pointer's place holds other things: an interface number shows that it is one. */
	out->interface = dev ? READ(dev->ifindex) : 0;
	__builtin_memset(out->interface_name, 0, sizeof(out->interface_name));
	if (out->interface > 0) {
		bpf_probe_read_kernel(out->interface_name, sizeof(out->interface_name), dev->name);
		out->netns = netns_of(READ(dev->nd_net.net));
		return;
	}
	out->interface = READ(skb->skb_iif);
	out->netns = sk ? netns_of(READ(sk->__sk_common.skc_net.net)) : 0;
}

INLINE void read_headers(struct drop_record *out, struct sk_buff *skb)
{
	const u8 *header = READ(skb->head) + READ(skb->network_header);

	__builtin_memset(&out->tuple, 0, sizeof(out->tuple));
	if (out->ethertype == ETHERTYPE_IPV4)
		read_ipv4(&out->tuple, header);
	if (out->ethertype == ETHERTYPE_IPV6)
		read_ipv6(&out->tuple, header);
}

INLINE int packet_dropped(u64 *ctx, u32 reason, bool has_reason, struct sock *rx_sk)
{
	struct sk_buff *skb = (void *)ctx[0];
	struct sock *sk = rx_sk ? rx_sk : READ(skb->sk);
	struct drop_record *record;
	long bytes = 0;
	u64 now;

	if (is_ignored(skb, reason, has_reason)) {
		hook_ignored(HOOK_KFREE_SKB);
		return 0;
	}
	now = bpf_ktime_get_boot_ns();
	if (!hook_admits(HOOK_KFREE_SKB, HOOK_KFREE_SKB, now)) {
		hook_suppressed(HOOK_KFREE_SKB);
		return 0;
	}
	record = hook_reserve(&bulk, HOOK_KFREE_SKB, sizeof(*record), now);
	if (!record)
		return 0;
	read_socket_cgroups(&record->cgroups, sk);
	record->location = ctx[1];
	record->reason = reason;
	record->has_reason = has_reason;
	record->unused = 0;
	record->bytes = READ(skb->len);
	record->ethertype = SWAP16(READ(skb->protocol));
	read_device(record, skb, sk);
	read_headers(record, skb);
	if (drop_stacks)
		bytes = bpf_get_stack(ctx, record->stack, sizeof(record->stack), 0);
	record->frames = bytes > 0 ? bytes / sizeof(u64) : 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/kfree_skb")
int kfree_skb_bare(u64 *ctx)
{
	return packet_dropped(ctx, 0, false, NULL);
}

SEC("tp_btf/kfree_skb")
int kfree_skb_reason(u64 *ctx)
{
	return packet_dropped(ctx, (u32)ctx[2], true, NULL);
}

SEC("tp_btf/kfree_skb")
int kfree_skb_sk(u64 *ctx)
{
	return packet_dropped(ctx, (u32)ctx[2], true, (void *)ctx[3]);
}
