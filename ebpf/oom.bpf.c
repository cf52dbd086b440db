/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * kernel.oom.kill: the kernel marks a task as the victim of an out-of-memory kill. The current task is the one that ran
 * out; the victim is another, and its cgroup, memory and executable are read from itself.
 *
 * The constraint, and the cgroup whose limit was hit, are in no tracepoint. The kernel says them in one line of its log
 * just before, on the same task, piece by piece: the pieces are picked up as they pass.
 */
#include "hook.h"
#include "process.h"

#define LIMITS 12
#define LIMIT_PATH_BYTES 512
#define PIECE_BYTES 48

enum constraint {
	CONSTRAINT_UNKNOWN,
	CONSTRAINT_NONE,
	CONSTRAINT_CPUSET,
	CONSTRAINT_MEMORY_POLICY,
	CONSTRAINT_MEMCG,
};

/* What the log line said so far, by the task that writes it. */
struct oom_line {
	u64 time;
	u32 constraint;
	u16 path_follows;
	u16 path_bytes;
	char path[LIMIT_PATH_BYTES];
};

/* A memory cgroup on the way from the victim's to the root: any of them may be the one whose limit was hit. */
struct oom_limit {
	u64 id;
	u64 usage; /* pages */
	u64 max; /* pages */
};

struct oom_record {
	struct record_head head;
	struct process victim;
	u64 rss_file; /* pages, as are the next three */
	u64 rss_anon;
	u64 rss_shmem;
	u64 total_vm;
	u64 page_tables; /* bytes */
	struct cgroup_ids trigger_cgroups;
	u32 trigger_pid;
	u32 constraint;
	s16 score_adj;
	u16 limits;
	u16 limit_path_bytes;
	u16 unused;
	char trigger_comm[16];
	struct oom_limit limit[LIMITS];
	char limit_path[LIMIT_PATH_BYTES];
};

struct {
	MAP_NUMBER(type, MAP_LRU_HASH);
	MAP_NUMBER(max_entries, 64);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct oom_line);
} oom_lines SEC(".maps");

/* The victims that SIGKILL was just sent to, by the task that sends: for kernels whose mark_victim tells only a pid. */
struct {
	MAP_NUMBER(type, MAP_LRU_HASH);
	MAP_NUMBER(max_entries, 64);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, u64);
} oom_victims SEC(".maps");

/* An oom_line is too large for the stack. */
const struct oom_line oom_line_fresh;

INLINE bool starts_with(const char *text, const char *start, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		if (text[i] != start[i])
			return false;
	return true;
}
#define STARTS_WITH(text, literal) starts_with(text, literal, sizeof(literal) - 1)

INLINE u32 constraint_of(const char *word)
{
	if (STARTS_WITH(word, "NONE"))
		return CONSTRAINT_NONE;
	if (STARTS_WITH(word, "CPUSET"))
		return CONSTRAINT_CPUSET;
	if (STARTS_WITH(word, "MEMORY_POLICY"))
		return CONSTRAINT_MEMORY_POLICY;
	if (STARTS_WITH(word, "MEMCG"))
		return CONSTRAINT_MEMCG;
	return CONSTRAINT_UNKNOWN;
}

/* The pieces: `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=…`, …, `,oom_memcg=`, the path, … */
INLINE int oom_piece(const char *text, u64 bytes)
{
	u64 task = bpf_get_current_pid_tgid();
	struct oom_line *line;
	char piece[PIECE_BYTES] = {};

	bpf_probe_read_kernel_str(piece, sizeof(piece), text);
	if (STARTS_WITH(piece, "oom-kill:constraint=CONSTRAINT_")) {
		bpf_map_update_elem(&oom_lines, &task, &oom_line_fresh, UPDATE_ANY);
		line = bpf_map_lookup_elem(&oom_lines, &task);
		if (line) {
			line->time = bpf_ktime_get_boot_ns();
			line->constraint = constraint_of(piece + sizeof("oom-kill:constraint=CONSTRAINT_") - 1);
		}
		return 0;
	}
	line = bpf_map_lookup_elem(&oom_lines, &task);
	if (!line)
		return 0;
	if (line->path_follows) {
		/* A piece is as long as the kernel says: no zero ends it. */
		line->path_bytes = 0;
		if (bytes < LIMIT_PATH_BYTES && bpf_probe_read_kernel(line->path, bytes, text) == 0)
			line->path_bytes = bytes;
		line->path_follows = false;
	}
	if (STARTS_WITH(piece, ",oom_memcg="))
		line->path_follows = true;
	return 0;
}

SEC("tp_btf/console")
int console(u64 *ctx)
{
	return oom_piece((const char *)ctx[0], ctx[1]);
}

/* A macro: the index has to be a constant where the access is written, since the element's size is the kernel's. */
#define RSS(mm, member)                                                                                \
	at_least_zero(EXISTS(((struct mm_struct___atomic *)(mm))->rss_stat.count) ?                    \
			      READ(((struct mm_struct___atomic *)(mm))->rss_stat.count[member].counter) : \
			      READ((mm)->rss_stat[member].count))

/* The kernel's counters are summed lazily and may be below zero for a moment. */
INLINE u64 at_least_zero(s64 pages)
{
	return pages > 0 ? pages : 0;
}

INLINE void read_limits(struct oom_record *out, struct task_struct *victim)
{
	struct cgroup_subsys_state *css = memory_css(victim);
	u32 used = 0;

	for (int i = 0; i < LIMITS && css; i++) {
		struct mem_cgroup *memcg = (void *)css - FIELD_OFFSET(struct mem_cgroup, css);

		out->limit[i].id = cgroup_id(READ(css->cgroup));
		out->limit[i].usage = READ(memcg->memory.usage.counter);
		out->limit[i].max = READ(memcg->memory.max);
		css = READ(css->parent);
		used++;
	}
	out->limits = used;
}

INLINE void read_line(struct oom_record *out, u64 now)
{
	u64 task = bpf_get_current_pid_tgid();
	struct oom_line *line = bpf_map_lookup_elem(&oom_lines, &task);

	out->constraint = CONSTRAINT_UNKNOWN;
	out->limit_path_bytes = 0;
	/* The kernel limits how often it writes the line: an old one is of another kill. */
	if (!line || now - line->time > SECOND)
		return;
	out->constraint = line->constraint;
	out->limit_path_bytes = line->path_bytes;
	bpf_probe_read_kernel(out->limit_path, sizeof(out->limit_path), line->path);
}

INLINE int victim_marked(struct task_struct *victim)
{
	struct task_struct *trigger = (void *)bpf_get_current_task();
	u64 now = bpf_ktime_get_boot_ns();
	struct oom_record *record;
	struct mm_struct *mm;

	if (!hook_admits(HOOK_MARK_VICTIM, HOOK_MARK_VICTIM, now)) {
		hook_suppressed(HOOK_MARK_VICTIM);
		return 0;
	}
	record = hook_reserve(&urgent, HOOK_MARK_VICTIM, sizeof(*record), now);
	if (!record)
		return 0;
	read_process(&record->victim, victim);
	mm = READ(victim->mm);
	record->rss_file = RSS(mm, 0);
	record->rss_anon = RSS(mm, 1);
	record->rss_shmem = RSS(mm, 3);
	record->total_vm = READ(mm->total_vm);
	record->page_tables = READ(mm->pgtables_bytes.counter);
	record->score_adj = READ(READ(victim->signal)->oom_score_adj);
	record->unused = 0;
	read_cgroups(&record->trigger_cgroups, trigger);
	record->trigger_pid = READ(trigger->tgid);
	bpf_probe_read_kernel(record->trigger_comm, sizeof(record->trigger_comm), trigger->comm);
	read_limits(record, victim);
	read_line(record, now);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/mark_victim")
int mark_victim(u64 *ctx)
{
	return victim_marked((void *)ctx[0]);
}

/* SIGKILL from the kernel itself: its siginfo is the constant 1. */
SEC("tp_btf/signal_generate")
int signal_generate(u64 *ctx)
{
	u64 sender = bpf_get_current_pid_tgid();
	u64 victim = ctx[2];

	if ((int)ctx[0] == 9 && ctx[1] == 1)
		bpf_map_update_elem(&oom_victims, &sender, &victim, UPDATE_ANY);
	return 0;
}

SEC("tp_btf/mark_victim")
int mark_victim_pid(u64 *ctx)
{
	u64 sender = bpf_get_current_pid_tgid();
	u64 *victim = bpf_map_lookup_elem(&oom_victims, &sender);

	if (!victim || READ(((struct task_struct *)*victim)->pid) != (s32)ctx[0])
		return 0;
	return victim_marked((struct task_struct *)*victim);
}
