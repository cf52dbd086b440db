/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Births and deaths of cgroups, so that an event's cgroup id has a path even after the cgroup is gone. */
#include "hook.h"
#include "process.h"

struct cgroup_record {
	struct record_head head;
	u64 id;
	u32 hierarchy;
	u32 path_bytes;
	char path[1024];
};

INLINE int cgroup_changed(u32 hook, struct cgroup *cgroup, const char *path)
{
	struct cgroup_record *record;
	long bytes;

	record = hook_reserve(&cgroups, hook, sizeof(*record), bpf_ktime_get_boot_ns());
	if (!record)
		return 0;
	record->id = cgroup_id(cgroup);
	record->hierarchy = READ(READ(cgroup->root)->hierarchy_id);
	bytes = bpf_probe_read_kernel_str(record->path, sizeof(record->path), path);
	record->path_bytes = bytes > 0 ? bytes : 0;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int cgroup_mkdir(u64 *ctx)
{
	return cgroup_changed(HOOK_CGROUP_MKDIR, (void *)ctx[0], (void *)ctx[1]);
}

SEC("tp_btf/cgroup_rmdir")
int cgroup_rmdir(u64 *ctx)
{
	return cgroup_changed(HOOK_CGROUP_RMDIR, (void *)ctx[0], (void *)ctx[1]);
}
