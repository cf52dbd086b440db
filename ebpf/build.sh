#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Compiles the probes.
#
#   ebpf/build.sh            writes the object and MANIFEST, to be committed together
#   ebpf/build.sh OUTPUT     writes only the object, there
#
# The bytes are reproducible with clang 14 of Debian 12 (packages clang-14, llvm-14). CLANG and LLVM_STRIP name others.
set -euo pipefail
export LC_ALL=C
clang=${CLANG:-clang-14}
strip=${LLVM_STRIP:-llvm-strip-14}
object=tidegate.bpf.o
out=$(realpath -m "${1:-"$(dirname "$0")/$object"}")
cd "$(dirname "$0")"

# -mcpu=v3: the sequences need atomic operations that return a value. The compilation directory and the prefix map
# keep this machine's paths out of the object.
flags=(-g -O2 -target bpfel -mcpu=v3 -nostdinc -Wall -Wextra -Werror -Wno-unused-function -fdebug-compilation-dir=.)
"$clang" "${flags[@]}" -ffile-prefix-map="$PWD"=. -c tidegate.bpf.c -o "$out"
"$strip" -g "$out"
[ $# -eq 0 ] || exit 0

{
	echo "# What the committed object was made from and by: ebpf/build.sh writes this, ebpf/check.sh checks it."
	echo "clang: $("$clang" --version | head -1)"
	echo "llvm-strip: $("$strip" --version | grep -o '[^ ].*version.*')"
	echo "flags: ${flags[*]} -ffile-prefix-map=\$PWD=."
	sha256sum -- *.c *.h "$object"
} > MANIFEST
