/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * kernel.process.crash: a signal of the crashing kind is delivered and its action is the default one, so that it ends
 * the process. Runtimes that handle SIGSEGV themselves are not counted. One record a process.
 */
#include "hook.h"
#include "mapping.h"
#include "process.h"

#define COMMAND_LINE_BYTES 512
#define CRASH_FRAMES 32

enum { SIGNAL_UNKILLABLE = 0x40 };

const volatile bool crash_command_line;
const volatile bool crash_stacks;
const volatile u32 crash_max_per_executable;

struct crash_record {
	struct record_head head;
	struct process process;
	u64 fault_address;
	s32 signal;
	s32 code;
	s32 sender_pid;
	u32 command_line_bytes;
	char command_line[COMMAND_LINE_BYTES];
	/* The record ends here unless stacks are wanted. */
	u64 frames;
	u64 stack[CRASH_FRAMES]; /* becomes names and offsets in the reader and goes no further */
	struct mapping mappings[CRASH_FRAMES];
};

struct crashed {
	u64 start;
	u64 pid;
};

struct executable {
	u64 inode;
	u64 device;
};

struct window {
	u64 start;
	u64 count;
};

struct {
	MAP_NUMBER(type, MAP_LRU_HASH);
	MAP_NUMBER(max_entries, 4096);
	MAP_TYPE(key, struct crashed);
	MAP_TYPE(value, u8);
} crash_seen SEC(".maps");

struct {
	MAP_NUMBER(type, MAP_LRU_HASH);
	MAP_NUMBER(max_entries, 1024);
	MAP_TYPE(key, struct executable);
	MAP_TYPE(value, struct window);
} crash_executables SEC(".maps");

/* SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: 4, 5, 6, 7, 8, 11, 31 on every architecture but three. */
INLINE bool is_crash(int signal)
{
	return (signal >= 4 && signal <= 8) || signal == 11 || signal == 31;
}

/* True for the first thread of the process that gets here. */
INLINE bool first_of_process(struct task_struct *task)
{
	struct crashed key = {
		.start = READ(READ(task->group_leader)->start_boottime),
		.pid = (u32)READ(task->tgid),
	};
	u8 yes = 1;

	return bpf_map_update_elem(&crash_seen, &key, &yes, UPDATE_NEW) == 0;
}

INLINE bool executable_admits(struct task_struct *task, u64 now)
{
	struct inode *inode = READ(READ(READ(READ(task->mm)->exe_file)->f_path.dentry)->d_inode);
	struct executable key = { .inode = READ(inode->i_ino), .device = READ(READ(inode->i_sb)->s_dev) };
	struct window fresh = { .start = now };
	struct window *window;

	if (!crash_max_per_executable)
		return true;
	bpf_map_update_elem(&crash_executables, &key, &fresh, UPDATE_NEW);
	window = bpf_map_lookup_elem(&crash_executables, &key);
	return !window || window_admits(&window->start, &window->count, crash_max_per_executable, now);
}

INLINE void read_command_line(struct crash_record *out, struct task_struct *task)
{
	struct mm_struct *mm = READ(task->mm);
	u64 start = READ(mm->arg_start);
	u64 bytes = READ(mm->arg_end) - start;

	out->command_line_bytes = 0;
	if (!crash_command_line)
		return;
	if (bytes > COMMAND_LINE_BYTES)
		bytes = COMMAND_LINE_BYTES;
	if (bpf_probe_read_user(out->command_line, bytes, (void *)start) == 0)
		out->command_line_bytes = bytes;
}

/* The frame pointers of the thread, from where it stood when the signal came; and what is mapped there. */
INLINE void read_stack(struct crash_record *out, struct task_struct *task, u64 *ctx)
{
	long bytes = bpf_get_stack(ctx, out->stack, sizeof(out->stack), STACK_USER);
	struct mm_struct *mm = READ(task->mm);

	out->frames = bytes > 0 ? bytes / sizeof(u64) : 0;
	for (u32 i = 0; i < CRASH_FRAMES && i < out->frames; i++)
		read_mapping(&out->mappings[i], mm, out->stack[i]);
}

SEC("tp_btf/signal_deliver")
int signal_deliver(u64 *ctx)
{
	int signal = ctx[0];
	struct kernel_siginfo *info = (void *)ctx[1];
	struct k_sigaction *action = (void *)ctx[2];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct crash_record *record;
	u64 bytes, now;

	if (!is_crash(signal) || READ(action->sa.sa_handler))
		return 0;
	/* The init of a pid namespace survives what is not forced on it; a forced signal clears the flag first. */
	if ((READ(READ(task->signal)->flags) & SIGNAL_UNKILLABLE) || !first_of_process(task)) {
		hook_ignored(HOOK_SIGNAL_DELIVER);
		return 0;
	}
	now = bpf_ktime_get_boot_ns();
	if (!executable_admits(task, now) || !hook_admits(HOOK_SIGNAL_DELIVER, HOOK_SIGNAL_DELIVER, now)) {
		hook_suppressed(HOOK_SIGNAL_DELIVER);
		return 0;
	}
	bytes = crash_stacks ? sizeof(*record) : __builtin_offsetof(struct crash_record, frames);
	record = hook_reserve(&urgent, HOOK_SIGNAL_DELIVER, bytes, now);
	if (!record)
		return 0;
	read_process(&record->process, task);
	record->signal = signal;
	record->code = READ(info->si_code);
	record->sender_pid = READ(info->_sifields._kill._pid);
	record->fault_address = (u64)READ(info->_sifields._sigfault._addr);
	read_command_line(record, task);
	if (crash_stacks)
		read_stack(record, task, ctx);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
