#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only OR MIT
# Compiles the probes: ebpf/build.sh [OUTPUT] (default: the committed object). The bytes are reproducible with clang 14
# of Debian 12; with other flags or compilers they differ. Needs clang-14 and llvm-14 (or CLANG, LLVM_STRIP).
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-tidegate.bpf.o}")
"${CLANG:-clang-14}" -g -O2 -target bpfel -mcpu=v3 -Wall -Werror -Wno-unused-function -nostdinc \
	-ffile-prefix-map="$PWD"=. -fdebug-compilation-dir=. -c tidegate.bpf.c -o "$out"
"${LLVM_STRIP:-llvm-strip-14}" -g "$out"
