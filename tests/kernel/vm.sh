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
mkdir -p "$work"

# Prints the directory with the newest cloud kernel of the series.
fetch_kernel() {
    local package
    package=$(apt-cache search --names-only "^linux-image-${series//./\\.}\.[0-9].*cloud-amd64$" | awk '{print $1}' | grep -v unsigned | sort -V | tail -1)
    if [ -z "$package" ]; then
        echo "no package linux-image-$series*-cloud-amd64: run 'apt-get update', or add the suite that has it" >&2
        return 1
    fi
    if [ ! -d "$work/$package" ]; then
        rm -rf "$work/download" "$work/$package.part"
        mkdir -p "$work/download"
        (cd "$work/download" && apt-get download -qq "$package" 2> download.log) || { cat "$work/download/download.log" >&2; return 1; }
        dpkg-deb -x "$work/download/$package"_*.deb "$work/$package.part"
        mv "$work/$package.part" "$work/$package"
        rm -rf "$work/download"
    fi
    echo "$work/$package"
}

# Prints the paths of the test binary and of the agent.
build() {
    local built name
    built=$(cargo test --locked --all-features --test kernel --no-run --message-format=json-render-diagnostics)
    for name in '"kind":\["test"\].*"name":"kernel"' '"kind":\["bin"\].*"name":"tidegate"'; do
        sed -n "s/.*$name.*\"executable\":\"\([^\"]*\)\".*/\1/p" <<< "$built" | tail -1
    done
}

# Copies a program and the libraries that it needs: put_program PROGRAM [NAME]
put_program() {
    local library
    cp "$1" "$guest/bin/${2:-$(basename "$1")}"
    for library in $(ldd "$1" 2> /dev/null | grep -o '/[^ ]*' || true); do
        mkdir -p "$guest$(dirname "$library")"
        cp -n "$library" "$guest$library"
    done
}

# Copies the modules and what they depend on; prints their names in the order of loading.
put_modules() {
    local version module file name
    version=$(basename "$(find "$kernel" -maxdepth 4 -type d -path '*/lib/modules/*' | head -1)")
    [ -e "$kernel/lib/modules/$version/modules.dep" ] || depmod -b "$kernel" "$version"
    for module in "${modules[@]}"; do
        for file in $(modprobe -d "$kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'); do
            name=${file##*/}
            cp "$file" "$guest/modules/"
            case $name in
                *.xz) xz -df "$guest/modules/$name" && name=${name%.xz} ;;
                *.zst) zstd -qf --rm -d "$guest/modules/$name" && name=${name%.zst} ;;
            esac
            echo "$name"
        done
    done
}

write_init() {
    cat > "$guest/init" << INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp TIDEGATE_BIN=/bin/tidegate TIDEGATE_GUEST=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
for module in $*; do insmod "/modules/\$module" || echo "module \$module does not load"; done
echo
echo "kernel \$(uname -r)"
code=0
/bin/kernel-tests ${arguments[*]:-} || code=\$?
[ "$everything" = no ] || /bin/kernel-tests ${guest_tests[*]} --test-threads=1 || code=\$?
echo "EXIT=\$code"
poweroff -f
INIT
    chmod +x "$guest/init"
}

arguments=("$@")
everything=no
[ ${#arguments[@]} -gt 0 ] || { everything=yes && arguments=(--test-threads=4); }
kernel=$(fetch_kernel)
{ read -r tests && read -r agent; } < <(build) || { echo "the tests or the agent were not built" >&2; exit 1; }

expected=$("$tests" "${guest_tests[@]}" --list | grep -c ': test$') || { echo "there are no tests for the guest alone" >&2; exit 1; }

guest=$(mktemp -d)
trap 'rm -rf "$guest"' EXIT
chmod 755 "$guest" # it becomes the guest's root directory, which other users need too
mkdir -p "$guest"/{bin,modules,lib64,proc,sys,dev,tmp,run,etc}
cp "$(command -v busybox)" "$guest/bin/busybox"
put_program "$tests" kernel-tests
put_program "$agent" tidegate
strip "$guest/bin/kernel-tests" "$guest/bin/tidegate"
for program in "${programs[@]}"; do
    # The busybox of the guest must not stand in for it.
    PATH=$PATH:/usr/sbin:/sbin
    put_program "$(readlink -f "$(command -v "$program")")"
done
order=$(put_modules | awk '!seen[$0]++' | tr '\n' ' ')
write_init "$order"
initrd=$work/initrd-$series.gz
(cd "$guest" && find . | cpio -o -H newc 2> /dev/null | gzip -1) > "$initrd"

log=$work/console-$series.log
# Two virtual CPUs: sequences and counters must hold across CPUs. Two nodes of memory: one can run out by itself.
memory=(-m 1024
    -object memory-backend-ram,id=near,size=832M -numa node,nodeid=0,cpus=0-1,memdev=near
    -object memory-backend-ram,id=far,size=192M -numa node,nodeid=1,memdev=far)
timeout "${SECONDS_MAX:-600}" qemu-system-x86_64 -accel tcg,thread=multi "${memory[@]}" -smp 2 -nographic -no-reboot -nic none \
    -kernel "$kernel"/boot/vmlinuz-* -initrd "$initrd" -append "console=ttyS0 quiet panic=-1" \
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
