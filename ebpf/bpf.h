/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The part of the BPF machine that the probes use: types, sections, map kinds, helpers, CO-RE. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* Makes the compiler forget what it knows of a value, so that it keeps a check made for the verifier. */
#define HIDE(value) asm volatile("" : "+r"(value))
#define SECOND 1000000000ull

/* Map definitions are read from BTF: the type of a pointer to an array carries the number. */
#define MAP_NUMBER(name, value) int(*name)[value]
#define MAP_TYPE(name, type) typeof(type) *name
enum map_kind {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_LRU_HASH = 9,
	MAP_RINGBUF = 27,
};
enum { UPDATE_ANY = 0, UPDATE_NEW = 1 };
enum { STACK_USER = 0x100 };

/* Helpers are called by number; the numbers are kernel ABI (enum bpf_func_id). */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_get_stack)(void *ctx, void *buf, u32 size, u64 flags) = (void *)67;
static long (*bpf_probe_read_user)(void *dst, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *dst, u32 size, const void *from) = (void *)115;
static u64 (*bpf_jiffies64)(void) = (void *)118;
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*bpf_seq_write)(void *seq, const void *data, u32 len) = (void *)127;
static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *record, u64 flags) = (void *)132;
static long (*bpf_get_task_stack)(void *task, void *buf, u32 size, u64 flags) = (void *)141;

/*
 * CO-RE. Structs of kernel.h carry preserve_access_index, so `&p->field` is relocated at load time; where the
 * running kernel lacks the field, only the instruction is poisoned, and EXISTS() lets the verifier skip it.
 */
#define EXISTS(field) __builtin_preserve_field_info(field, 2)
#define FIELD_BYTES(type, field) __builtin_preserve_field_info(((type *)0)->field, 1)
#define FIELD_OFFSET(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define ENUM_EXISTS(type, name) __builtin_preserve_enum_value(*(type *)name, 0)
#define ENUM_VALUE(type, name) __builtin_preserve_enum_value(*(type *)name, 1)

/* Copies `field` from kernel memory; zero when the address is bad. */
#define READ(field)                                                                \
	({                                                                         \
		typeof(field) value_;                                              \
		__builtin_memset(&value_, 0, sizeof(value_));                      \
		bpf_probe_read_kernel(&value_, sizeof(value_), (const void *)&(field)); \
		value_;                                                            \
	})

/* Copies the bit field `field` of `p`, wherever and however wide this kernel has it. */
#define READ_BITS(p, field)                                                        \
	({                                                                         \
		u64 bits_ = 0;                                                     \
		u32 offset_ = __builtin_preserve_field_info((p)->field, 0);        \
		u32 size_ = __builtin_preserve_field_info((p)->field, 1);          \
		if (size_ <= sizeof(bits_))                                        \
			bpf_probe_read_kernel(&bits_, size_, (const char *)(p) + offset_); \
		bits_ <<= __builtin_preserve_field_info((p)->field, 4);            \
		bits_ >> __builtin_preserve_field_info((p)->field, 5);             \
	})
