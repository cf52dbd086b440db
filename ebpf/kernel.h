/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The fields of kernel structs that the probes read, and no more. Offsets, sizes and nesting are those of the running
 * kernel: CO-RE relocates every access by name. A type with a suffix after three underscores is the shape that the
 * struct had on other kernels.
 */
#pragma once
#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct atomic_long {
	long counter;
};

struct ns_common {
	u32 inum;
};

struct net {
	struct ns_common ns;
};

struct net_pointer {
	struct net *net;
};

struct nsproxy {
	struct net *net_ns;
};

struct qstr {
	const u8 *name;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
};

/* Since 6.2 the counters of resident pages are per-CPU counters. */
struct percpu_counter {
	s64 count;
};

struct mm_rss_stat {
	struct atomic_long count[4];
};

/*
 * Mappings are in a maple tree: nodes with the upper ends of their children, the pivots, in order. Since 6.1. The kinds
 * of node differ in how many children they have.
 */
struct maple_tree {
	void *ma_root;
};

struct maple_range_64 {
	unsigned long pivot[15];
	void *slot[16];
};

struct maple_arange_64 {
	unsigned long pivot[9];
	void *slot[10];
};

enum maple_type {
	maple_leaf_64 = 1,
	maple_range_64 = 2,
	maple_arange_64 = 3,
};

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	unsigned long vm_flags;
	unsigned long vm_pgoff;
	struct file *vm_file;
};

struct mm_struct {
	struct maple_tree mm_mt;
	struct file *exe_file;
	unsigned long total_vm;
	unsigned long arg_start;
	unsigned long arg_end;
	struct atomic_long pgtables_bytes;
	struct percpu_counter rss_stat[4];
};

struct mm_struct___atomic {
	struct mm_rss_stat rss_stat;
};

struct kernfs_node {
	u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup_root {
	s32 hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

struct page_counter {
	struct atomic_long usage;
	unsigned long max;
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
};

enum cgroup_subsys_id {
	memory_cgrp_id = 4,
};

struct upid {
	s32 nr;
	void *ns;
};

struct pid {
	u32 level;
	struct upid numbers[1];
};

struct kuid {
	u32 val;
};

struct cred {
	struct kuid euid;
};

struct signal_struct {
	u32 flags;
	struct pid *pids[4];
	s16 oom_score_adj;
};

struct task_struct {
	u32 __state;
	struct mm_struct *mm;
	s32 pid;
	s32 tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	u64 start_boottime;
	struct cred *cred;
	char comm[16];
	unsigned long last_switch_time;
	unsigned long blocker;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
};

/* Before 5.14. */
struct task_struct___state {
	long state;
};

struct mutex {
	struct atomic_long owner;
};

struct rw_semaphore {
	struct atomic_long owner;
};

struct kernel_siginfo {
	s32 si_signo;
	s32 si_code;
	union {
		struct {
			s32 _pid;
			u32 _uid;
		} _kill;
		struct {
			void *_addr;
		} _sigfault;
	} _sifields;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct in6_addr {
	u8 bytes[16];
};

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	u8 skc_state;
	struct net_pointer skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
	struct mem_cgroup *sk_memcg;
};

struct inet_connection_sock {
	u8 icsk_ca_state : 5;
	u8 icsk_retransmits;
};

struct tcp_sock {
	u32 srtt_us;
};

struct request_sock {
	struct sock_common __req_common;
	u8 num_timeout : 7;
};

struct net_device {
	s32 ifindex;
	char name[16];
	struct net_pointer nd_net;
};

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	char cb[48];
	u32 len;
	s32 skb_iif;
	u16 protocol;
	u16 network_header;
	u8 *head;
};

/* What TCP keeps in sk_buff.cb. */
struct tcp_skb_cb {
	u32 seq;
	u32 end_seq;
	u8 tcp_flags;
};

enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED = 2,
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop
