//! Names of the signals that end a process as a crash, and of their codes (`sigaction(2)`).

/// `SIGSEGV`; None for one that is not of the crashing kind.
pub(crate) fn name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        11 => "SIGSEGV",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// `SEGV_MAPERR`, `SI_USER`; None for a code without a name.
pub(crate) fn code_name(signal: i32, code: i32) -> Option<&'static str> {
    Some(match (signal, code) {
        (_, 0) => "SI_USER",
        (_, 0x80) => "SI_KERNEL",
        (_, -1) => "SI_QUEUE",
        (_, -2) => "SI_TIMER",
        (_, -3) => "SI_MESGQ",
        (_, -4) => "SI_ASYNCIO",
        (_, -5) => "SI_SIGIO",
        (_, -6) => "SI_TKILL",
        (4, 1) => "ILL_ILLOPC",
        (4, 2) => "ILL_ILLOPN",
        (4, 3) => "ILL_ILLADR",
        (4, 4) => "ILL_ILLTRP",
        (4, 5) => "ILL_PRVOPC",
        (4, 6) => "ILL_PRVREG",
        (4, 7) => "ILL_COPROC",
        (4, 8) => "ILL_BADSTK",
        (5, 1) => "TRAP_BRKPT",
        (5, 2) => "TRAP_TRACE",
        (5, 3) => "TRAP_BRANCH",
        (5, 4) => "TRAP_HWBKPT",
        (5, 5) => "TRAP_UNK",
        (5, 6) => "TRAP_PERF",
        (7, 1) => "BUS_ADRALN",
        (7, 2) => "BUS_ADRERR",
        (7, 3) => "BUS_OBJERR",
        (7, 4) => "BUS_MCEERR_AR",
        (7, 5) => "BUS_MCEERR_AO",
        (8, 1) => "FPE_INTDIV",
        (8, 2) => "FPE_INTOVF",
        (8, 3) => "FPE_FLTDIV",
        (8, 4) => "FPE_FLTOVF",
        (8, 5) => "FPE_FLTUND",
        (8, 6) => "FPE_FLTRES",
        (8, 7) => "FPE_FLTINV",
        (8, 8) => "FPE_FLTSUB",
        (11, 1) => "SEGV_MAPERR",
        (11, 2) => "SEGV_ACCERR",
        (11, 3) => "SEGV_BNDERR",
        (11, 4) => "SEGV_PKUERR",
        (11, 8) => "SEGV_MTEAERR",
        (11, 9) => "SEGV_MTESERR",
        (11, 10) => "SEGV_CPERR",
        (31, 1) => "SYS_SECCOMP",
        (31, 2) => "SYS_USER_DISPATCH",
        _ => return None,
    })
}

/// Whether a process sent it (`kill`, `tgkill`, `sigqueue`), not the kernel.
pub(crate) fn sent_by_process(code: i32) -> bool {
    matches!(code, 0 | -1 | -6)
}

/// Whether the kernel gave a fault address with it.
pub(crate) fn has_fault_address(signal: i32, code: i32) -> bool {
    matches!(signal, 4 | 5 | 7 | 8 | 11) && (1..0x80).contains(&code)
}
