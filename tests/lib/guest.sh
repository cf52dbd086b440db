# Builds a small guest around one of Debian's kernels, for an emulator; sourced by the scripts that need one.
#
# Packages: busybox-static cpio zstd kmod xz-utils. The kernel is fetched by apt-get and kept in target/kernel-vm.
# The caller sets `guest` (the directory that becomes the guest's root) and `kernel` (what fetch_kernel printed).

# Prints the directory with the newest cloud kernel of the series: fetch_kernel SERIES DIRECTORY
fetch_kernel() {
    local series=$1 work=$2 package
    package=$(apt-cache search --names-only "^linux-image-${series//./\\.}\.[0-9].*cloud-amd64$" | awk '{print $1}' | grep -v unsigned | sort -V | tail -1)
    if [ -z "$package" ]; then
        echo "no package linux-image-$series*-cloud-amd64: run 'apt-get update', or add the suite that has it" >&2
        return 1
    fi
    mkdir -p "$work"
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

# Makes the directories of the guest's root, with busybox in it.
make_root() {
    chmod 755 "$guest" # other users of the guest need it too
    mkdir -p "$guest"/{bin,modules,lib64,proc,sys,dev,tmp,run,etc,data}
    cp "$(command -v busybox)" "$guest/bin/busybox"
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

# Copies an installed command under its own name, so that busybox does not stand in for it: put_command NAME
put_command() {
    local PATH=$PATH:/usr/sbin:/sbin
    put_program "$(readlink -f "$(command -v "$1")")" "$1"
}

# Copies the modules and what they depend on; prints their files' names in the order of loading, each once.
put_modules() { put_each_module "$@" | awk '!seen[$0]++' | tr '\n' ' '; }

put_each_module() {
    local version module file name
    version=$(basename "$(find "$kernel" -maxdepth 4 -type d -path '*/lib/modules/*' | head -1)")
    [ -e "$kernel/lib/modules/$version/modules.dep" ] || depmod -b "$kernel" "$version"
    for module in "$@"; do
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

# Writes the guest's first program: what every guest begins with, then what comes on standard input.
write_init() {
    {
        cat << 'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
load() { for module in "$@"; do insmod "/modules/$module" || echo "module $module does not load"; done; }
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
INIT
        cat
    } > "$guest/init"
    chmod +x "$guest/init"
}

# Packs the guest's root: pack FILE
pack() { (cd "$guest" && find . | cpio -o -H newc 2> /dev/null | gzip -1) > "$1"; }
