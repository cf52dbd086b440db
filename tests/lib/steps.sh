# The steps, in the order in which they run; sourced by tests/run.

ALL_STEPS=()
declare -A TITLE NEEDS

# step NAME 'what it shows' [what it needs]
step() { ALL_STEPS+=("$1"); TITLE[$1]=$2; NEEDS[$1]=${3:-}; }

step debian         "Debian packages: clang 14, emulator, JDK, Maven, Go"
step crates         "crates of Cargo.lock"
step format         "cargo fmt --check"
step clippy         "clippy, every feature and target, no warnings" crates
step clippy-library "clippy, no features: the log alone" crates
step clippy-sdk     "clippy, feature sdk: no agent" crates
step doc            "cargo doc, no warnings" crates
step ebpf           "the committed BPF object is what its sources compile to" debian
step test           "cargo test: hermetic" crates
step test-sdk       "cargo test, feature sdk alone" crates
step outage         "a Collector that is gone, throttled, cut off and expired: all arrives, in order; a Collector that queues in tidegate" "debian crates peer"
step hostile        "clients and servers that mean harm" crates
step damage         "every bit of a segment flipped, every length cut" crates
step fuzz           "the format against any bytes: libFuzzer, a short run" crates
step cargo-deny     "cargo-deny" crates
step deny           "crates: bans, licences, sources" cargo-deny
step examples       "examples: systemd unit" debian
step kernel         "kernel events, triggered for real on this kernel" "debian crates"
step kill           "kill -9 of the agent under load and while it starts" crates
step crash-images   "the log crashed at every operation of a simulated disk" crates
step teeth          "each safeguard of the log taken out: a test must fail; a short run only sees that the patches apply" crates
step mutants        "each small change of the log's code: a test must fail; a short run only looks at those that are explained" crates
step block-images   "power cuts and failing devices below a real ext4 and xfs" "debian crates"
step disk-full      "a disk that fills and drains, every policy" "debian crates"
step power-cut      "power cuts of the agent on ext4 and xfs, in an emulator" "debian crates"
step opensearch     "OpenSearch from Maven artifacts" debian
step collector      "OpenTelemetry Collector from Go modules, as the gateway" debian
step peer           "OpenTelemetry Collector from Go modules, to compare with" debian
step conformance    "each duty of the OTLP specification, asked of tidegate and of the Collector" "debian crates peer"
step whole-way      "agent, gateway, OpenSearch: outages and a kill" "debian crates opensearch collector"
step kernel-6.1     "the kernel tests on Debian's 6.1, emulated" "debian crates"
step kernel-6.12    "the kernel tests on Debian's 6.12, emulated" "debian crates"
step readme         "the commands of the README, as a person would type them" "debian crates"

# What proves the log's promise, beside `test`, and how long that may take on two processors, in seconds.
LOG_PROOF=(damage fuzz kill crash-images teeth mutants block-images disk-full power-cut)
LOG_PROOF_S=900

# Started as soon as the Debian packages are there, and waited for at their turn.
BACKGROUND=(opensearch collector peer)

export CARGO_TERM_PROGRESS_WHEN=never
# A short run makes the same choices each time, so that chance fails no other change; a long one looks for what is new.
if [ -z "${TIDEGATE_LONG:-}" ]; then
    for seed in {PROPTEST_RNG,TIDEGATE_{KILL,BLOCK,FULL,POWER}}_SEED; do
        export "$seed=${!seed:-1}"
    done
fi
# A short run only checks what would take too long; a long one is built with optimisation, which takes the smaller part.
CHECK=(--check) OPTIMISED=()
[ -z "${TIDEGATE_LONG:-}" ] || { CHECK=() OPTIMISED=(--release); }

step_format() { cargo fmt --all --check; }

# The targets that `cargo test` leaves out, and `--all-targets` too.
separate_tests() { awk '/^\[\[/ { name = "" } /^name = / { name = $3 } /^test = false/ { gsub(/"/, "", name); print "--test", name }' Cargo.toml; }

step_clippy() {
    cargo clippy --locked --workspace --all-features --all-targets -- -D warnings
    # shellcheck disable=SC2046
    cargo clippy --locked --all-features $(separate_tests) -- -D warnings
}
step_clippy_library() { cargo clippy --locked --no-default-features --lib -- -D warnings; }
step_clippy_sdk() {
    cargo clippy --locked --no-default-features --features sdk --lib -- -D warnings
    # A library user must not pay for the agent.
    local agent
    agent=$(cargo tree --locked -e normal --no-default-features --features sdk --prefix none | grep -E '^(aya|clap|axum|saphyr) ' || true)
    [ -z "$agent" ] || { echo "the feature sdk pulls in: $agent"; return 1; }
}

step_doc() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --all-features --document-private-items; }

step_ebpf() { ebpf/check.sh; }

step_test() {
    [ -z "${TIDEGATE_LONG:-}" ] || export PROPTEST_CASES=${PROPTEST_CASES:-10000}
    cargo test --locked --all-features
}
step_test_sdk() { cargo test --locked --no-default-features --features sdk; }

# Hundreds of thousands of logs are read: our code is optimised, and keeps its checks. What it needs was built for
# test-sdk.
LOG_TESTS=(--locked --no-default-features --features sdk --lib --config profile.dev.package.tidegate.opt-level=3)
log_tests() { cargo test "${LOG_TESTS[@]}" -- --nocapture "$@"; }

step_outage() { cargo test --locked --all-features --test outage -- --nocapture; }
step_hostile() { cargo test --locked "${OPTIMISED[@]}" --all-features --test hostile -- --nocapture --test-threads 1; }

step_conformance() { cargo test --locked --all-features --test conformance -- --nocapture; }

step_damage() { TIDEGATE_DAMAGE=all log_tests --test-threads 1 spool::tests::flips; }

step_fuzz() {
    local seconds=10
    [ -z "${TIDEGATE_LONG:-}" ] || seconds=3600
    fuzz/run all $seconds
}

step_deny() {
    PATH=$PATH:$DEPS/cargo-deny/bin
    cargo deny --locked --all-features check bans licenses sources -D unmatched-skip -D unnecessary-skip -D license-not-encountered
}

step_examples() {
    # The programs that the unit names need not be on a test machine: a copy with one that is there is verified.
    local unit=target/test-logs/tidegate.service
    sed -E 's#^(Exec[A-Za-z]*=)(/usr/bin/tidegate|/bin/kill)#\1/bin/true#' examples/systemd/tidegate.service > "$unit"
    systemd-analyze verify "$PWD/$unit"
    local score
    score=$(systemd-analyze security --offline=true "$PWD/$unit" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\).*/\1/p')
    echo "figure: systemd-analyze security: exposure $score of 10"
    awk -v score="$score" 'BEGIN { exit !(score != "" && score <= 2.5) }'
}

# Tests that need root run their binary through sudo when the caller is not root.
root_runner() {
    if [ "$(id -u)" != 0 ]; then
        as_root true
        export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo -n -E"
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="sudo -n -E"
    fi
}

step_kernel() { root_runner; cargo test --locked --all-features --test kernel; }
step_kernel_6_1() { tests/kernel/vm.sh 6.1; }
step_kernel_6_12() { tests/kernel/vm.sh 6.12; }

step_kill() {
    [ -z "${TIDEGATE_LONG:-}" ] || export TIDEGATE_KILL_CYCLES=${TIDEGATE_KILL_CYCLES:-2000}
    cargo test --locked "${OPTIMISED[@]}" --all-features --test kill -- --nocapture
}

# Some 1,500 images a story.
step_crash_images() {
    if [ -n "${TIDEGATE_LONG:-}" ]; then
        tests/crash_images/run || return
    else
        CRASH_STORIES=${CRASH_STORIES:-80} CRASH_FULL_STORIES=10 log_tests spool::tests::sim::{crashes,full} || return
    fi
    CRASH_LASTING_STRIDE=1 log_tests spool::tests::sim::each_call
}

step_teeth() { tests/teeth/run "${CHECK[@]}"; }
step_mutants() { tests/mutants/run "${CHECK[@]}"; }

step_block_images() {
    root_runner
    if [ -n "${TIDEGATE_LONG:-}" ]; then
        export TIDEGATE_BLOCK_EXT4=${TIDEGATE_BLOCK_EXT4:-50000} TIDEGATE_BLOCK_XFS=${TIDEGATE_BLOCK_XFS:-1000}
        export TIDEGATE_BLOCK_FLIPS=${TIDEGATE_BLOCK_FLIPS:-200} TIDEGATE_BLOCK_FAULTS=${TIDEGATE_BLOCK_FAULTS:-100}
    fi
    cargo test --locked "${OPTIMISED[@]}" --all-features --test block -- --nocapture
}

step_disk_full() {
    root_runner
    [ -z "${TIDEGATE_LONG:-}" ] || export TIDEGATE_FULL_CYCLES=${TIDEGATE_FULL_CYCLES:-1000}
    cargo test --locked "${OPTIMISED[@]}" --all-features --test full -- --nocapture
}

step_power_cut() {
    root_runner
    # For each file system.
    [ -z "${TIDEGATE_LONG:-}" ] || export TIDEGATE_POWER_CYCLES=${TIDEGATE_POWER_CYCLES:-500}
    # One emulator at a time.
    cargo test --locked "${OPTIMISED[@]}" --all-features --test power -- --nocapture --test-threads=1
}

step_whole_way() {
    root_runner
    TIDEGATE_TEST_DEPS=$DEPS cargo test --locked --all-features --test whole_way -- --nocapture
}

step_readme() { tests/readme.sh; }
