#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Checks that MANIFEST tells the sources and the object that are here, and that the sources still compile to that object.
# Another compiler than MANIFEST's is told, and its object is not compared: its bytes differ.
set -euo pipefail
cd "$(dirname "$0")"

failed=0
if ! grep -E '^[0-9a-f]{64} ' MANIFEST | sha256sum --check --quiet; then
	echo "ebpf: the files differ from MANIFEST; run ebpf/build.sh and commit the object and MANIFEST" >&2
	failed=1
fi
for source in *.c *.h; do
	grep -q "  $source\$" MANIFEST || { echo "ebpf: $source is not in MANIFEST; run ebpf/build.sh" >&2; failed=1; }
done

clang=${CLANG:-clang-14}
if ! command -v "$clang" > /dev/null; then
	echo "ebpf: $clang is not installed (packages clang-14, llvm-14), so the object cannot be compiled again" >&2
	exit 1
fi
have=$("$clang" --version | head -1)
want=$(sed -n 's/^clang: //p' MANIFEST)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./build.sh "$work/object"
if [ "$have" != "$want" ]; then
	echo "ebpf: the sources compile, but not compared: this is '$have', the object is by '$want'"
elif cmp -s "$work/object" tidegate.bpf.o; then
	echo "ebpf: the object is what its sources compile to: $(sha256sum tidegate.bpf.o | cut -d' ' -f1)"
else
	echo "ebpf: the sources compile to another object; run ebpf/build.sh and commit the object and MANIFEST" >&2
	failed=1
fi
exit "$failed"
