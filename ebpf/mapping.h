/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Which file is mapped at an address of a process. The helper that finds mappings takes the lock of the process's memory,
 * and where interrupts are off, as they are when a signal is delivered, it can do that once only. So the tree is read
 * without the lock. Another thread may be changing it: what is found counts only if its own bounds hold the address.
 */
#pragma once
#include "kernel.h"

#define MODULE_BYTES 64

struct mapping {
	u64 start;
	u64 page; /* of the file, where the mapping starts */
	char module[MODULE_BYTES]; /* the file's name; empty where no executable file is mapped */
};

enum { VM_EXEC = 0x4 };

/* A pointer to a node has the node's kind and flags in its low byte. */
enum {
	MAPLE_KIND_SHIFT = 3,
	MAPLE_KIND_MASK = 15,
	MAPLE_LOW_BYTE = 255,
};

#define MAPLE_PIVOTS 15
/* More than 16 million mappings. */
#define MAPLE_DEPTH 8

/* The child of a node that holds `address`: the first whose upper end is not below it. */
INLINE u64 maple_child(u64 pivot, u32 pivot_bytes, u64 slot, u64 address)
{
	u64 ends[MAPLE_PIVOTS] = {};
	u64 child = 0;
	u32 i;

	bpf_probe_read_kernel(ends, sizeof(ends), (void *)pivot);
	for (i = 0; i < MAPLE_PIVOTS && i < pivot_bytes / sizeof(u64); i++)
		/* An end that is not written is that of the node. */
		if (!ends[i] || ends[i] >= address)
			break;
	bpf_probe_read_kernel(&child, sizeof(child), (void *)(slot + i * sizeof(u64)));
	return child;
}

#define MAPLE_CHILD(type, node, address)                                                   \
	maple_child((node) + FIELD_OFFSET(struct type, pivot), FIELD_BYTES(struct type, pivot), \
		    (node) + FIELD_OFFSET(struct type, slot), address)

/*
 * The mapping at an address, or 0; 0 before 6.1 too. Neither inlined nor static: the verifier then checks it once, not
 * once for each frame. It does so whoever calls it, so what a kernel lacks must be asked for in here.
 */
__attribute__((noinline)) u64 find_mapping(u64 mm_address, u64 address)
{
	struct mm_struct *mm = (void *)mm_address;
	u64 entry;

	if (!EXISTS(mm->mm_mt))
		return 0;
	entry = (u64)READ(mm->mm_mt.ma_root);
	for (int i = 0; i < MAPLE_DEPTH; i++) {
		u64 node = entry & ~(u64)MAPLE_LOW_BYTE;
		u64 kind = entry >> MAPLE_KIND_SHIFT & MAPLE_KIND_MASK;

		if (kind == ENUM_VALUE(enum maple_type, maple_leaf_64))
			return MAPLE_CHILD(maple_range_64, node, address);
		if (kind == ENUM_VALUE(enum maple_type, maple_range_64))
			entry = MAPLE_CHILD(maple_range_64, node, address);
		else if (kind == ENUM_VALUE(enum maple_type, maple_arange_64))
			entry = MAPLE_CHILD(maple_arange_64, node, address);
		else
			return 0;
	}
	return 0;
}

INLINE void read_mapping(struct mapping *out, struct mm_struct *mm, u64 address)
{
	struct vm_area_struct *vma;
	struct file *file;

	out->start = 0;
	out->page = 0;
	out->module[0] = 0;
	vma = (void *)find_mapping((u64)mm, address);
	if (!vma || address < READ(vma->vm_start) || address >= READ(vma->vm_end))
		return;
	file = READ(vma->vm_file);
	if (!file || !(READ(vma->vm_flags) & VM_EXEC))
		return;
	out->start = READ(vma->vm_start);
	out->page = READ(vma->vm_pgoff);
	bpf_probe_read_kernel_str(out->module, sizeof(out->module), READ(READ(file->f_path.dentry)->d_name.name));
}
