#!/usr/bin/env bash
# Runs the kernel tests on one of Debian's kernels, in an emulator: argument lists and structs differ there, and cgroups
# are v2. Needs no hardware virtualisation.
#
#   tests/kernel/vm.sh SERIES [ARGUMENT...]     6.1 or 6.12; arguments go to the test binary
#
# Without arguments the tests for the guest alone, which are ignored elsewhere, run as well: all of them, or it is a failure.
#
# Packages: qemu-system-x86 busybox-static iproute2 e2fsprogs numactl cpio zstd kmod xz-utils. The kernel is fetched by apt-get and
# kept in target/kernel-vm. The exit code is the tests' own; 125 where the guest never got that far.
set -euo pipefail
cd "$(dirname "$0")/../.."

series=${1:?usage: tests/kernel/vm.sh SERIES [ARGUMENT...]}
shift
work=$PWD/target/kernel-vm
modules=(veth loop ext4 sch_tbf)
programs=(ip tc mke2fs numactl)
guest_tests=(guest:: --ignored)
. tests/lib/guest.sh

# Prints the paths of the test binary and of the agent.
build() {
    local built name
    built=$(cargo test --locked --all-features --test kernel --no-run --message-format=json-render-diagnostics)
    for name in '"kind":\["test"\].*"name":"kernel"' '"kind":\["bin"\].*"name":"tidegate"'; do
        sed -n "s/.*$name.*\"executable\":\"\([^\"]*\)\".*/\1/p" <<< "$built" | tail -1
    done
}

arguments=("$@")
everything=no
[ ${#arguments[@]} -gt 0 ] || { everything=yes && arguments=(--test-threads=4); }
kernel=$(fetch_kernel "$series" "$work")
{ read -r tests && read -r agent; } < <(build) || { echo "the tests or the agent were not built" >&2; exit 1; }

expected=$("$tests" "${guest_tests[@]}" --list | grep -c ': test$') || { echo "there are no tests for the guest alone" >&2; exit 1; }

guest=$(mktemp -d)
trap 'rm -rf "$guest"' EXIT
make_root
put_program "$tests" kernel-tests
put_program "$agent" tidegate
strip "$guest/bin/kernel-tests" "$guest/bin/tidegate"
for program in "${programs[@]}"; do put_command "$program"; done
order=$(put_modules "${modules[@]}")
write_init << INIT
load $order
export TIDEGATE_BIN=/bin/tidegate TIDEGATE_GUEST=1
# Each receiver that starts reads the kernel's types, tens of MB: freed memory goes back, or the tests fill the guest.
export MALLOC_MMAP_THRESHOLD_=131072
echo
echo "kernel \$(uname -r)"
code=0
/bin/kernel-tests ${arguments[*]} || code=\$?
# The kernel may look for a second victim before the first has given its memory back: these come before the tests themselves.
[ "$everything" = no ] || for _ in 1 2 3 4 5 6 7 8; do (echo 900 > /proc/self/oom_score_adj && exec sleep 600) & done
[ "$everything" = no ] || /bin/kernel-tests ${guest_tests[*]} --test-threads=1 || code=\$?
echo "EXIT=\$code"
poweroff -f
INIT
initrd=$work/initrd-$series.gz
pack "$initrd"

log=$work/console-$series.log
# Two virtual CPUs: sequences and counters must hold across CPUs. Two nodes of memory: one can run out by itself.
# On a busy machine the emulator's timer is late, which the kernel would take for a broken one: no_timer_check.
memory=(-m 1024
    -object memory-backend-ram,id=near,size=832M -numa node,nodeid=0,cpus=0-1,memdev=near
    -object memory-backend-ram,id=far,size=192M -numa node,nodeid=1,memdev=far)
timeout "${SECONDS_MAX:-600}" qemu-system-x86_64 -accel tcg,thread=multi "${memory[@]}" -smp 2 -nographic -no-reboot -nic none \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check" \
    < /dev/null > "$log" 2>&1 || true
tr -d '\r' < "$log" | sed -n '/^kernel /,$p'
code=$(grep -ao 'EXIT=[0-9]*' "$log" | tail -1 | cut -d= -f2)
if [ -z "$code" ]; then
    echo "the guest ended without a result; its console:" >&2
    tail -30 "$log" >&2
    exit 125
fi
if [ "$everything" = yes ] && ! tr -d '\r' < "$log" | grep -q "^test result: ok. $expected passed; 0 failed; 0 ignored"; then
    echo "the $expected tests for the guest alone did not all run and pass" >&2
    [ "$code" != 0 ] || code=1
fi
exit "$code"
