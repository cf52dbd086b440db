/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What every hook has in common: its counters, its throttle, its rings and the head of its records.
 *
 * For each hook, exactly: seen = suppressed + lost + emitted. The counters are per CPU and a program never nests on
 * one CPU, so plain additions do not race. What a filter of the event's own turns away is `ignored`, not seen.
 */
#pragma once
#include "bpf.h"

/* The numbers are shared with src/receivers/kernel/probes/hooks.rs. */
enum hook {
	HOOK_MARK_VICTIM,
	HOOK_SIGNAL_DELIVER,
	HOOK_PROCESS_HANG,
	HOOK_TCP_RETRANSMIT,
	HOOK_TCP_SYNACK,
	HOOK_KFREE_SKB,
	HOOK_CGROUP_MKDIR,
	HOOK_CGROUP_RMDIR,
	HOOK_COUNT,
};

/* Set before loading. By hook; 0 means no limit. Hooks of one event share the window of `throttle_window`. */
const volatile u32 max_per_second[HOOK_COUNT];

struct counters {
	u64 seen;
	u64 suppressed;
	u64 lost;
	u64 emitted;
	u64 ignored;
};

struct hook_state {
	u64 sequence;
	u64 suppressed; /* since the last record */
	u64 window_start;
	u64 window_count;
};

struct {
	MAP_NUMBER(type, MAP_PERCPU_ARRAY);
	MAP_NUMBER(max_entries, HOOK_COUNT);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct counters);
} counters SEC(".maps");

struct {
	MAP_NUMBER(type, MAP_ARRAY);
	MAP_NUMBER(max_entries, HOOK_COUNT);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct hook_state);
} hook_states SEC(".maps");

/* Rare and precious: out-of-memory kills, crashes, hung tasks. */
struct {
	MAP_NUMBER(type, MAP_RINGBUF);
	MAP_NUMBER(max_entries, 512 * 1024);
} urgent SEC(".maps");

/* What comes in storms: drops and retransmits. They cannot push out the urgent ones. */
struct {
	MAP_NUMBER(type, MAP_RINGBUF);
	MAP_NUMBER(max_entries, 256 * 1024);
} bulk SEC(".maps");

/* Births and deaths of cgroups, which the reader needs before it can name the cgroup of an event. */
struct {
	MAP_NUMBER(type, MAP_RINGBUF);
	MAP_NUMBER(max_entries, 128 * 1024);
} cgroups SEC(".maps");

struct record_head {
	u64 time; /* boot clock */
	u64 sequence; /* of this hook: every record that found room or did not */
	u64 suppressed_before;
	u32 hook;
	u32 cpu;
};

INLINE void hook_ignored(u32 hook)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &hook);

	if (c)
		c->ignored++;
}

INLINE void hook_suppressed(u32 hook)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &hook);
	struct hook_state *state = bpf_map_lookup_elem(&hook_states, &hook);

	if (!c || !state)
		return;
	c->seen++;
	c->suppressed++;
	__sync_fetch_and_add(&state->suppressed, 1);
}

/* One token of a window of a second; false when the window is used up. */
INLINE bool window_admits(u64 *start, u64 *count, u64 limit, u64 now)
{
	u64 began = *(volatile u64 *)start;

	/* Signed: another CPU may have begun a window after `now` was read. */
	if ((s64)(now - began) >= (s64)SECOND && __sync_val_compare_and_swap(start, began, now) == began)
		*(volatile u64 *)count = 0;
	return __sync_fetch_and_add(count, 1) < limit;
}

/* Whether the hook's event may still be recorded in this second; hooks of one event name the same `window`. */
INLINE bool hook_admits(u32 hook, u32 window, u64 now)
{
	struct hook_state *state = bpf_map_lookup_elem(&hook_states, &window);
	u64 limit = max_per_second[hook];

	if (!limit || !state)
		return true;
	return window_admits(&state->window_start, &state->window_count, limit, now);
}

/*
 * Takes room for a record in a ring and fills its head; NULL when the ring is full, which is counted, and shows as a
 * step in the sequence. The caller fills the rest and submits.
 */
INLINE void *hook_reserve(void *ring, u32 hook, u64 size, u64 now)
{
	struct counters *c = bpf_map_lookup_elem(&counters, &hook);
	struct hook_state *state = bpf_map_lookup_elem(&hook_states, &hook);
	struct record_head *head;
	u64 sequence;

	if (!c || !state)
		return NULL;
	c->seen++;
	sequence = __sync_fetch_and_add(&state->sequence, 1) + 1;
	head = bpf_ringbuf_reserve(ring, size, 0);
	if (!head) {
		c->lost++;
		return NULL;
	}
	c->emitted++;
	head->time = now;
	head->sequence = sequence;
	head->suppressed_before = __sync_lock_test_and_set(&state->suppressed, 0);
	head->hook = hook;
	head->cpu = bpf_get_smp_processor_id();
	return head;
}
