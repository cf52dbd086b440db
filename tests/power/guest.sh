#!/usr/bin/env bash
# Builds the guest of the power-cut tests: Debian's 6.12 with the agent, its configuration and what its disk needs.
#
#   tests/power/guest.sh AGENT CONFIGURATION DIRECTORY     makes DIRECTORY/vmlinuz and DIRECTORY/initrd.gz
#
# 6.12 and not 6.1: it has the driver that reseeds the guest's random numbers when a snapshot is resumed.
set -euo pipefail
cd "$(dirname "$0")/../.."

agent=${1:?usage: tests/power/guest.sh AGENT CONFIGURATION DIRECTORY}
configuration=$2
out=$3
. tests/lib/guest.sh

kernel=$(fetch_kernel 6.12 "$PWD/target/kernel-vm")
guest=$(mktemp -d)
trap 'rm -rf "$guest"' EXIT
make_root
put_program "$agent" tidegate
strip "$guest/bin/tidegate"
put_command dmsetup
cp "$configuration" "$guest/etc/agent.yaml"
network=$(put_modules virtio_net)
virtio_blk=$(put_modules virtio_blk)
xfs=$(put_modules xfs)
log_writes=$(put_modules dm-log-writes)

write_init << INIT
load $network
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
echo "kernel \$(uname -r)"

# Here the snapshot is taken. Nothing of the disk may be known yet: its driver comes after the resumption.
echo "waiting"
until read -r word now filesystem disk durability backend && [ "\$word" = go ]; do :; done
# Two resumptions must not draw the same random numbers.
[ "\$disk" = logged ] || until dmesg | grep -q 'virtual machine fork'; do :; done
date -s "@\$now" > /dev/null
load $virtio_blk
[ "\$filesystem" != xfs ] || load $xfs
device=/dev/vda
if [ "\$disk" = logged ]; then
    load $log_writes
    sectors=\$(blockdev --getsz /dev/vda)
    dmsetup create logged --noudevsync --table "0 \$sectors log-writes /dev/vda /dev/vdb" || echo "failed: dmsetup"
    dmsetup mknodes
    device=/dev/mapper/logged
fi
mount -t "\$filesystem" "\$device" /data || { echo "failed: mount"; sleep 5; }
export BACKEND=10.0.2.2:\$backend
echo "mounted"
tidegate run --config /etc/agent.yaml --set "extensions.disk_buffer.durability=\$durability" < /dev/null &
agent=\$!

stop() {
    kill -TERM \$agent
    wait \$agent
    echo "agent ended: \$?"
    umount /data || echo "failed: umount"
    # Ends the log of writes in order.
    [ "\$disk" != logged ] || dmsetup remove --noudevsync logged
    echo "stopped"
    poweroff -f
}
while read -r word argument; do
    case \$word in
        mark) dmsetup message logged 0 mark "\$argument" && echo "marked \$argument" ;;
        stop) stop ;;
    esac
done
INIT
pack "$out/initrd.gz"
ln -sf "$kernel"/boot/vmlinuz-* "$out/vmlinuz"
