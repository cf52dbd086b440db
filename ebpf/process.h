/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Who an event is about, read from the task itself: the current task is often another one. */
#pragma once
#include "kernel.h"

#define PATH_PARTS 48
#define PATH_BYTES 1024
#define NAME_BYTES 256

/* A cgroup's id is unique within its hierarchy only; hierarchy 0 is cgroup v2. An id of 0 means unknown. */
struct cgroup_ids {
	u64 unified; /* in hierarchy 0 */
	u64 memory; /* where the memory controller has its own hierarchy */
	u32 memory_hierarchy;
	u32 unused;
};

struct process {
	u64 start; /* boot clock */
	struct cgroup_ids cgroups;
	u32 pid;
	u32 tid;
	u32 vpid;
	u32 parent_pid;
	u32 user_id;
	u32 netns;
	u8 has_user_id;
	u8 exe_complete; /* the path reaches the root */
	u16 exe_bytes;
	u32 unused;
	char comm[16];
	/* The executable's path, last part first, each ended by a zero. */
	char exe[PATH_BYTES + NAME_BYTES];
};

INLINE u64 cgroup_id(struct cgroup *cgroup)
{
	return READ(READ(cgroup->kn)->id);
}

INLINE struct cgroup_subsys_state *memory_css(struct task_struct *task)
{
	struct css_set *set = READ(task->cgroups);
	struct cgroup_subsys_state **slot = (void *)&set->subsys;

	if (!ENUM_EXISTS(enum cgroup_subsys_id, memory_cgrp_id))
		return NULL;
	slot += ENUM_VALUE(enum cgroup_subsys_id, memory_cgrp_id);
	return READ(*slot);
}

INLINE void read_memory_cgroup(struct cgroup_ids *out, struct cgroup *cgroup)
{
	u32 hierarchy = READ(READ(cgroup->root)->hierarchy_id);

	out->memory_hierarchy = hierarchy;
	out->memory = hierarchy ? cgroup_id(cgroup) : 0;
}

INLINE void read_cgroups(struct cgroup_ids *out, struct task_struct *task)
{
	struct css_set *set = READ(task->cgroups);
	struct cgroup_subsys_state *css = memory_css(task);

	out->unified = cgroup_id(READ(set->dfl_cgrp));
	read_memory_cgroup(out, READ(css->cgroup));
	out->unused = 0;
}

INLINE u32 netns_of(struct net *net)
{
	return READ(net->ns.inum);
}

/* Writes the parts of a path, last first, up to the root of its mount namespace. */
INLINE void read_path(struct process *out, struct vfsmount *vfsmount, struct dentry *dentry)
{
	u32 used = 0;

	out->exe_complete = false;
	for (int i = 0; i < PATH_PARTS && used < PATH_BYTES; i++) {
		struct dentry *parent;
		const u8 *name;
		long bytes;

		if (dentry == READ(vfsmount->mnt_root)) {
			struct mount *mount = (void *)vfsmount - FIELD_OFFSET(struct mount, mnt);
			struct mount *above = READ(mount->mnt_parent);

			if (above == mount || !above) {
				out->exe_complete = true;
				break;
			}
			dentry = READ(mount->mnt_mountpoint);
			vfsmount = (void *)above + FIELD_OFFSET(struct mount, mnt);
			continue;
		}
		parent = READ(dentry->d_parent);
		if (parent == dentry || !parent)
			break;
		name = READ(dentry->d_name.name);
		/* The mask changes nothing: it shows the verifier the bound, also of a value that was spilled. */
		HIDE(used);
		bytes = bpf_probe_read_kernel_str(out->exe + (used & (PATH_BYTES - 1)), NAME_BYTES, name);
		if (bytes <= 1 || bytes > NAME_BYTES)
			break;
		used += bytes;
		dentry = parent;
	}
	out->exe_bytes = used;
}

INLINE u32 innermost_pid(struct task_struct *task)
{
	struct pid *pid = READ(READ(task->signal)->pids[1]);
	struct upid *numbers = pid->numbers;

	return READ(numbers[READ(pid->level) & 31].nr);
}

/* `task` may be any task, also one that is exiting. */
INLINE void read_process(struct process *out, struct task_struct *task)
{
	struct mm_struct *mm = READ(task->mm);
	struct file *exe = mm ? READ(mm->exe_file) : NULL;
	struct cred *cred = READ(task->cred);

	out->start = READ(READ(task->group_leader)->start_boottime);
	read_cgroups(&out->cgroups, task);
	out->pid = READ(task->tgid);
	out->tid = READ(task->pid);
	out->vpid = innermost_pid(task);
	out->parent_pid = READ(READ(task->real_parent)->tgid);
	out->has_user_id = cred != NULL;
	out->user_id = READ(cred->euid.val);
	out->netns = netns_of(READ(READ(task->nsproxy)->net_ns));
	out->unused = 0;
	bpf_probe_read_kernel(out->comm, sizeof(out->comm), task->comm);
	out->exe_bytes = 0;
	out->exe_complete = false;
	if (exe)
		read_path(out, READ(exe->f_path.mnt), READ(exe->f_path.dentry));
}
