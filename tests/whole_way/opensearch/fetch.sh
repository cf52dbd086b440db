#!/usr/bin/env bash
# Fetches OpenSearch's jars from Maven artifacts and compiles the launcher: fetch.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath -m "$1")
if [ ! -d "$out/lib" ]; then
    mkdir -p "$out"
    mvn -B -ntp -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$out/lib.part"
    mv "$out/lib.part" "$out/lib"
fi
javac -cp "$out/lib/*" -d "$out/launcher" "$here/SearchNode.java"
du -sh "$out"
