#!/usr/bin/env bash
# Builds a Collector with the Collector's own builder, every module held to a go.sum: build.sh gateway|peer DIR GO
#
# gateway: 0.138.0, the newest with the opensearch exporter; what tidegate sends through. peer: 0.162.0 with file_storage;
# what tidegate is compared with, and the queue of which it is. What is built is what the examples name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)/$1
case $1 in
    gateway) example=gateway ;;
    peer) example=collector-queue ;;
    *) echo "no Collector $1"; exit 2 ;;
esac
manifest=$(cd "$(dirname "$0")/../.." && pwd)/examples/$example/builder.yaml
out=$(realpath -m "$2") go=$3
version=$(grep -oE 'version: [0-9.]+' "$manifest" | head -1 | cut -d' ' -f2)
[ -n "$go" ] || { echo "no go command: apt-get install golang-go"; exit 1; }
if [ -x "$out/otelcol" ] && cmp -s "$here/go.sum" "$out/go.sum"; then "$out/otelcol" --version; exit; fi
mkdir -p "$out"
export GOFLAGS='' GOBIN="$out/bin" GOTOOLCHAIN=auto
# These module versions are not in every checksum database; go.sum beside the configuration holds their sums instead.
export GOSUMDB=off

# Debian 12's Go is too old to fetch a newer one by itself, but it can fetch it as the module that it is.
minor=$("$go" version | sed -E 's/^go version go1\.([0-9]+).*/\1/')
if [ "$minor" -lt 21 ]; then
    newer=golang.org/toolchain@v0.0.1-go1.25.5.linux-$("$go" env GOARCH)
    "$go" mod download "$newer"
    toolchain=$("$go" env GOMODCACHE)/$newer
    chmod -R u+w "$toolchain"
    find "$toolchain"/{bin,pkg/tool} -type f -exec chmod +x {} +
    go=$toolchain/bin/go
    export GOROOT=$toolchain
fi
PATH=$(dirname "$go"):$PATH
export PATH

cd "$out"
[ -x bin/builder ] || go install "go.opentelemetry.io/collector/cmd/builder@v$version"
rm -rf _build
bin/builder --config "$manifest" --skip-get-modules --skip-compilation
cp "$here/go.mod" "$here/go.sum" _build/
(cd _build && go build -mod=readonly -trimpath -ldflags='-s -w' -o "$out/otelcol.part" .)
mv otelcol.part otelcol
cp "$here/go.sum" go.sum
./otelcol --version
