# What the suite needs from package registries; sourced by tests/run. Nothing here touches more than Debian's packages and target/.

DEPS=$PWD/target/test-deps

# Commands that the steps call, and the Debian package that has each. Only what is missing is installed.
DEBIAN_PACKAGES=(
    "clang-14 clang-14" "llvm-strip-14 llvm-14"                    # the BPF object
    "qemu-system-x86_64 qemu-system-x86" "busybox busybox-static"  # other kernels
    "numactl numactl" "cpio cpio" "zstd zstd" "depmod kmod" "xz xz-utils" "dmsetup dmsetup"
    "ip iproute2" "mkfs.ext4 e2fsprogs" "mkfs.xfs xfsprogs" "losetup util-linux" "mount mount" "setpriv util-linux"
    "java openjdk-17-jdk-headless" "mvn maven"                     # OpenSearch
    "promtool prometheus"                                          # the agent's metrics
    "systemd-analyze systemd" "pgrep procps" "git git" "cc gcc"
)

missing_packages() {
    local entry
    for entry in "${DEBIAN_PACKAGES[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${entry% *}" > /dev/null || echo "${entry#* }"
    done
    # A JDK is asked for, not only a runtime: OpenSearch's launcher is compiled when it starts.
    command -v javac > /dev/null || echo openjdk-17-jdk-headless
    [ -n "$(go_command)" ] || echo golang-go
}

# Runs a command as root, or says what is lacking.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
        sudo -n "$@"
    else
        echo "needs root: run as root, or with sudo that asks no password: $*" >&2
        return 1
    fi
}

step_debian() {
    local packages
    packages=$(missing_packages | sort -u)
    # The kernels are Debian packages too, so the lists must be there even when nothing is missing.
    as_root apt-get update -q
    [ -z "$packages" ] && { echo "nothing is missing"; return; }
    echo "installing:" $packages
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
    packages=$(missing_packages | sort -u)
    [ -z "$packages" ] || { echo "still missing after the installation:" $packages; return 1; }
}

step_crates() { cargo fetch --locked; }

step_cargo_deny() {
    if command -v cargo-deny > /dev/null; then cargo deny --version; return; fi
    # It runs for a second: optimising it would take minutes.
    cargo install --locked --debug --root "$DEPS/cargo-deny" --version '^0.20' cargo-deny
}

# A Go that can fetch the version it needs by itself (1.21 and newer), or Debian's older one.
go_command() { PATH=$PATH:/usr/local/go/bin command -v go || true; }

step_collector() { tests/collector/build.sh gateway "$DEPS/collector" "$(go_command)"; }

step_peer() { tests/collector/build.sh peer "$DEPS/peer" "$(go_command)"; }

step_opensearch() { tests/whole_way/opensearch/fetch.sh "$DEPS/opensearch"; }
