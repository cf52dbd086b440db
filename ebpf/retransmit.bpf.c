/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* kernel.net.tcp_retransmit: a segment, or a SYN-ACK, is sent again. Runs in a timer: the current task is any. */
#include "hook.h"
#include "packet.h"

enum { TCP_FLAG_SYN = 2 };
enum retransmit_kind { RETRANSMIT_DATA, RETRANSMIT_SYN, RETRANSMIT_SYNACK };

struct retransmit_record {
	struct record_head head;
	struct cgroup_ids cgroups;
	u8 local[16];
	u8 peer[16];
	u32 netns;
	u32 sequence;
	u32 segment_bytes;
	u32 srtt_us; /* eighths */
	s32 error;
	u16 local_port;
	u16 peer_port;
	u16 family;
	u8 state;
	u8 ca_state;
	u8 retransmits;
	u8 kind;
	u8 has_segment;
	u8 unused;
};

/* Both kinds of socket begin with the same part, which has the addresses. */
INLINE void read_connection(struct retransmit_record *out, struct sock_common *common)
{
	out->family = READ(common->skc_family);
	out->state = READ(common->skc_state);
	out->local_port = READ(common->skc_num);
	out->peer_port = SWAP16(READ(common->skc_dport));
	out->netns = netns_of(READ(common->skc_net.net));
	__builtin_memset(out->local, 0, sizeof(out->local));
	__builtin_memset(out->peer, 0, sizeof(out->peer));
	if (out->family == AF_INET6) {
		bpf_probe_read_kernel(out->local, sizeof(out->local), &common->skc_v6_rcv_saddr);
		bpf_probe_read_kernel(out->peer, sizeof(out->peer), &common->skc_v6_daddr);
		return;
	}
	bpf_probe_read_kernel(out->local, 4, &common->skc_rcv_saddr);
	bpf_probe_read_kernel(out->peer, 4, &common->skc_daddr);
}

INLINE struct retransmit_record *begin_retransmit(u32 hook)
{
	u64 now = bpf_ktime_get_boot_ns();

	/* One window for both hooks: they are one event. */
	if (!hook_admits(hook, HOOK_TCP_RETRANSMIT, now)) {
		hook_suppressed(hook);
		return NULL;
	}
	return hook_reserve(&bulk, hook, sizeof(struct retransmit_record), now);
}

INLINE int segment_sent_again(struct sock *sk, struct sk_buff *skb, s32 error)
{
	struct inet_connection_sock *connection = (void *)sk;
	struct tcp_skb_cb *cb = (void *)skb->cb;
	struct retransmit_record *record = begin_retransmit(HOOK_TCP_RETRANSMIT);
	bool syn;

	if (!record)
		return 0;
	read_connection(record, &sk->__sk_common);
	read_socket_cgroups(&record->cgroups, sk);
	record->sequence = READ(cb->seq);
	syn = READ(cb->tcp_flags) & TCP_FLAG_SYN;
	/* A SYN takes a sequence number and has no bytes. */
	record->segment_bytes = READ(cb->end_seq) - record->sequence - syn;
	record->has_segment = true;
	record->kind = syn ? RETRANSMIT_SYN : RETRANSMIT_DATA;
	record->srtt_us = READ(((struct tcp_sock *)sk)->srtt_us);
	record->ca_state = READ_BITS(connection, icsk_ca_state);
	record->retransmits = READ(connection->icsk_retransmits);
	record->error = error;
	record->unused = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit(u64 *ctx)
{
	return segment_sent_again((void *)ctx[0], (void *)ctx[1], 0);
}

SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit_err(u64 *ctx)
{
	return segment_sent_again((void *)ctx[0], (void *)ctx[1], (s32)ctx[2]);
}

SEC("tp_btf/tcp_retransmit_synack")
int tcp_synack(u64 *ctx)
{
	struct sock *listener = (void *)ctx[0];
	struct request_sock *request = (void *)ctx[1];
	struct retransmit_record *record = begin_retransmit(HOOK_TCP_SYNACK);

	if (!record)
		return 0;
	read_connection(record, &request->__req_common);
	read_socket_cgroups(&record->cgroups, listener);
	record->sequence = 0;
	record->segment_bytes = 0;
	record->has_segment = false;
	record->kind = RETRANSMIT_SYNACK;
	record->srtt_us = 0;
	record->ca_state = 0;
	record->retransmits = READ_BITS(request, num_timeout);
	record->error = 0;
	record->unused = 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}
