//! The places in the kernel that programs attach to, and the shapes that their argument lists have had.

/// One hook. The number of a hook that counts is shared with `ebpf/hook.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Hook {
    /// The kernel chose a task to kill for want of memory.
    MarkVictim = 0,
    /// A signal is about to act on the current task.
    SignalDeliver = 1,
    /// khungtaskd found a task that has not run for its time-out.
    ProcessHang = 2,
    /// A segment is sent again.
    TcpRetransmit = 3,
    /// A SYN-ACK is sent again.
    TcpSynack = 4,
    /// A packet is freed because it was dropped.
    KfreeSkb = 5,
    /// A cgroup is born.
    CgroupMkdir = 6,
    /// A cgroup dies.
    CgroupRmdir = 7,
    /// A piece of text goes to the kernel log: the constraint of an out-of-memory kill is told only there.
    Console = 8,
    /// A signal is sent: names the victim where `mark_victim` has only its pid.
    SignalGenerate = 9,
    /// Lists every task, on request.
    IterTask = 10,
}

/// How many hooks keep counters: those numbered below this.
pub(crate) const COUNTING: usize = 8;

impl Hook {
    /// Every hook, in the order in which they are attached: cgroups first, so that no event comes before its cgroup.
    pub(crate) const ALL: [Self; 11] = [
        Self::CgroupMkdir,
        Self::CgroupRmdir,
        Self::Console,
        Self::SignalGenerate,
        Self::MarkVictim,
        Self::SignalDeliver,
        Self::ProcessHang,
        Self::IterTask,
        Self::TcpRetransmit,
        Self::TcpSynack,
        Self::KfreeSkb,
    ];

    /// The hook of a record's number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u32 == number && hook.counts())
    }

    /// Whether `ebpf/hook.h` keeps counters for it.
    pub(crate) fn counts(self) -> bool {
        (self as usize) < COUNTING
    }

    /// As records and reports name it: `tp_btf/mark_victim`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MarkVictim => "tp_btf/mark_victim",
            Self::SignalDeliver => "tp_btf/signal_deliver",
            Self::ProcessHang => "tp_btf/sched_process_hang",
            Self::TcpRetransmit => "tp_btf/tcp_retransmit_skb",
            Self::TcpSynack => "tp_btf/tcp_retransmit_synack",
            Self::KfreeSkb => "tp_btf/kfree_skb",
            Self::CgroupMkdir => "tp_btf/cgroup_mkdir",
            Self::CgroupRmdir => "tp_btf/cgroup_rmdir",
            Self::Console => "tp_btf/console",
            Self::SignalGenerate => "tp_btf/signal_generate",
            Self::IterTask => "iter/task",
        }
    }

    /// The part of the name after the slash.
    pub(crate) fn target(self) -> &'static str {
        let name = self.name();
        name.split_once('/').map_or(name, |(_, target)| target)
    }

    /// The programs for this hook and the argument lists that they read, richest first.
    pub(crate) fn variants(self) -> &'static [Variant] {
        match self {
            Self::MarkVictim => &[
                Variant { program: "mark_victim", arguments: &["task_struct*"] },
                Variant { program: "mark_victim_pid", arguments: &["int"] },
            ],
            Self::SignalDeliver => {
                &[Variant { program: "signal_deliver", arguments: &["int", "kernel_siginfo*", "k_sigaction*"] }]
            }
            Self::ProcessHang => &[Variant { program: "process_hang", arguments: &["task_struct*"] }],
            Self::TcpRetransmit => &[
                Variant { program: "tcp_retransmit_err", arguments: &["sock*", "sk_buff*", "int"] },
                Variant { program: "tcp_retransmit", arguments: &["sock*", "sk_buff*"] },
            ],
            Self::TcpSynack => &[Variant { program: "tcp_synack", arguments: &["sock*", "request_sock*"] }],
            Self::KfreeSkb => &[
                Variant { program: "kfree_skb_sk", arguments: &["sk_buff*", "void*", "skb_drop_reason", "sock*"] },
                Variant { program: "kfree_skb_reason", arguments: &["sk_buff*", "void*", "skb_drop_reason"] },
                Variant { program: "kfree_skb_bare", arguments: &["sk_buff*", "void*"] },
            ],
            Self::CgroupMkdir => &[Variant { program: "cgroup_mkdir", arguments: &["cgroup*", "char*"] }],
            Self::CgroupRmdir => &[Variant { program: "cgroup_rmdir", arguments: &["cgroup*", "char*"] }],
            Self::Console => &[Variant { program: "console", arguments: &["char*", "size_t"] }],
            Self::SignalGenerate => {
                &[Variant { program: "signal_generate", arguments: &["int", "kernel_siginfo*", "task_struct*"] }]
            }
            Self::IterTask => &[Variant { program: "list_tasks", arguments: &[] }],
        }
    }
}

/// One program for a hook, and the first arguments that it reads, as the kernel's BTF spells their types.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The program's name in the object.
    pub program: &'static str,
    /// The types of the arguments that it reads. A kernel that has more after them is served as well.
    pub arguments: &'static [&'static str],
}

/// The richest variant whose arguments begin the kernel's list. The kernel's version is never asked: stable kernels
/// carry changed lists back.
pub(crate) fn choose<'a>(variants: &'a [Variant], kernel: &[String]) -> Option<&'a Variant> {
    variants.iter().find(|variant| {
        variant.arguments.len() <= kernel.len() && variant.arguments.iter().zip(kernel).all(|(ours, its)| ours == its)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(types: &[&str]) -> Vec<String> {
        types.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn the_richest_variant_that_the_kernel_can_feed_is_chosen() {
        let of = |types: &[&str]| choose(Hook::KfreeSkb.variants(), &list(types)).map(|variant| variant.program);
        assert_eq!(of(&["sk_buff*", "void*", "skb_drop_reason", "sock*"]), Some("kfree_skb_sk"));
        assert_eq!(of(&["sk_buff*", "void*", "skb_drop_reason"]), Some("kfree_skb_reason"));
        assert_eq!(of(&["sk_buff*", "void*"]), Some("kfree_skb_bare"));
        assert_eq!(of(&["sk_buff*", "void*", "skb_drop_reason", "sock*", "int"]), Some("kfree_skb_sk"));
    }

    #[test]
    fn a_list_of_other_types_is_not_read() {
        assert_eq!(choose(Hook::SignalDeliver.variants(), &list(&["task_struct*", "int"])), None);
    }

    #[test]
    fn a_victim_known_by_pid_only_gets_its_own_program() {
        let of = |types: &[&str]| choose(Hook::MarkVictim.variants(), &list(types)).map(|variant| variant.program);
        assert_eq!(of(&["task_struct*", "uid_t"]), Some("mark_victim"));
        assert_eq!(of(&["int"]), Some("mark_victim_pid"));
    }

    #[test]
    fn numbers_name_the_counting_hooks_only() {
        for hook in Hook::ALL {
            assert_eq!(Hook::from_number(hook as u32).is_some(), hook.counts(), "{}", hook.name());
        }
    }
}
