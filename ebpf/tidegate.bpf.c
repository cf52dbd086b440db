/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* One object from all topics: they share the rings and the counters, and are loaded program by program. */
#include "cgroup.bpf.c"
#include "crash.bpf.c"
#include "drop.bpf.c"
#include "hung.bpf.c"
#include "oom.bpf.c"
#include "retransmit.bpf.c"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
