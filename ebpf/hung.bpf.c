/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * kernel.task.hung: khungtaskd found a task that has been uninterruptible for longer than its time-out. It finds it
 * again at each of its rounds; the reader makes an episode of that.
 */
#include "hook.h"
#include "process.h"

#define FRAMES 48
#define LISTED_FRAMES 24

enum {
	TASK_UNINTERRUPTIBLE = 0x2,
	TASK_NOLOAD = 0x400,
};

/* What a task says it waits for and as what, in the low bits of the address (since 6.16; the last two since 6.17). */
enum { BLOCKER_MUTEX = 0, BLOCKER_RWSEM_READER = 2, BLOCKER_RWSEM_WRITER = 3, BLOCKER_MASK = 3 };
enum { OWNER_FLAGS = 7, RWSEM_READER_OWNED = 1 };

struct hung_record {
	struct record_head head;
	struct process process;
	u64 blocked_jiffies;
	u32 blocker_pid;
	u32 frames;
	u64 stack[FRAMES];
};

struct listed_task {
	u32 pid;
	u32 tid;
	char comm[16];
	u32 frames;
	u32 unused;
	u64 stack[LISTED_FRAMES];
};

const volatile bool hung_stacks;

INLINE u32 state_of(struct task_struct *task)
{
	struct task_struct___state *older = (void *)task;

	return EXISTS(older->state) ? READ(older->state) : READ(task->__state);
}

/* The owner of the lock that the task waits for, where the kernel keeps it. */
INLINE u32 blocker_of(struct task_struct *task)
{
	u64 blocker, owner = 0;
	void *lock;

	if (!EXISTS(task->blocker))
		return 0;
	blocker = READ(task->blocker);
	lock = (void *)(blocker & ~(u64)BLOCKER_MASK);
	if (!lock)
		return 0;
	if ((blocker & BLOCKER_MASK) == BLOCKER_MUTEX)
		owner = READ(((struct mutex *)lock)->owner.counter);
	if ((blocker & BLOCKER_MASK) >= BLOCKER_RWSEM_READER)
		owner = READ(((struct rw_semaphore *)lock)->owner.counter);
	/* Of several readers it names one, which may have let go long ago. */
	if ((blocker & BLOCKER_MASK) >= BLOCKER_RWSEM_READER && (owner & RWSEM_READER_OWNED))
		return 0;
	owner &= ~(u64)OWNER_FLAGS;
	return owner ? READ(((struct task_struct *)owner)->tgid) : 0;
}

INLINE u32 frames_of(long bytes)
{
	return bytes > 0 ? bytes / sizeof(u64) : 0;
}

SEC("tp_btf/sched_process_hang")
int process_hang(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	u64 now = bpf_ktime_get_boot_ns();
	struct hung_record *record;

	if (!hook_admits(HOOK_PROCESS_HANG, HOOK_PROCESS_HANG, now)) {
		hook_suppressed(HOOK_PROCESS_HANG);
		return 0;
	}
	record = hook_reserve(&urgent, HOOK_PROCESS_HANG, sizeof(*record), now);
	if (!record)
		return 0;
	read_process(&record->process, task);
	record->blocked_jiffies = 0;
	if (EXISTS(task->last_switch_time))
		record->blocked_jiffies = bpf_jiffies64() - READ(task->last_switch_time);
	record->blocker_pid = blocker_of(task);
	record->frames = 0;
	if (hung_stacks)
		record->frames = frames_of(bpf_get_task_stack((void *)ctx[0], record->stack, sizeof(record->stack), 0));
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* Lists the tasks that are uninterruptible now, but for those that idle that way. */
SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct listed_task listed = {};
	u32 state;

	if (!task)
		return 0;
	state = state_of(task);
	if (!(state & TASK_UNINTERRUPTIBLE) || (state & TASK_NOLOAD))
		return 0;
	listed.pid = READ(task->tgid);
	listed.tid = READ(task->pid);
	bpf_probe_read_kernel(listed.comm, sizeof(listed.comm), task->comm);
	if (hung_stacks)
		listed.frames = frames_of(bpf_get_task_stack(task, listed.stack, sizeof(listed.stack), 0));
	bpf_seq_write(ctx->meta->seq, &listed, sizeof(listed));
	return 0;
}
