#!/usr/bin/env bash
# Does what the README tells a person to do, and looks for what it promises. Runs in a network namespace of its own, so that the
# default ports are free; its data goes to a temporary folder. Needs root, as the README's kernel events do.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TIDEGATE_README_INSIDE:-}" ]; then
    grep -qx '    cargo run --release -- run' README.md || { echo "the README's first command has changed"; exit 1; }
    grep -qx '    tests/run' README.md || { echo "the README's second command has changed"; exit 1; }
    began=$SECONDS
    cargo build --release --locked
    echo "figure: release build $((SECONDS - began)) s"
    [ "$(id -u)" = 0 ] || exec sudo -n -E env "PATH=$PATH" "$0"
    export TIDEGATE_README_INSIDE=1
    exec unshare --net -- "$0"
fi

ip link set lo up
# The crates are there; in this namespace nothing else is.
export CARGO_NET_OFFLINE=true
home=$(mktemp -d)
agent=
finish() {
    [ -z "$agent" ] || kill -KILL "$agent" 2> /dev/null || true
    rm -rf "$home"
}
trap finish EXIT

fail() {
    echo "$1"
    echo "--- standard error"; cat "$home/err"
    echo "--- standard output"; cat "$home/out"
    exit 1
}

# Empties what the program before said: else a wait could end at its lines, before the next program has begun.
forget_output() { : > "$home/out"; : > "$home/err"; }

# Waits for a line in a file: await SECONDS FILE REGEX
await() {
    local tries=$(($1 * 20))
    until grep -Eq -- "$3" "$2"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "no line like: $3"
        sleep 0.05
    done
}

echo "as root: cargo run --release -- run"
export TIDEGATE_DATA_DIR=$home/data
cargo run --release -q -- run > "$home/out" 2> "$home/err" < /dev/null &
cargo=$!
await 60 "$home/err" '^ready in [0-9]+ ms$'
agent=$(pgrep -P "$cargo" -x tidegate || echo "$cargo")
cat "$home/err"
for line in '^tidegate [0-9.]+$' "^data: $home/data" '^receiver otlp: grpc 127.0.0.1:4317, http 127.0.0.1:4318$' \
    '^receiver kernel: ([0-9]+) of \1 hooks attached$' '^exporter file: ' '^next: tidegate tail, tidegate doctor$'; do
    grep -Eq -- "$line" "$home/err" || fail "no start-up line like: $line"
done
[ "$(tail -n 1 "$home/err" | grep -Ec '^ready in [0-9]+ ms$')" = 1 ] || fail "the last start-up line is another"
echo "figure: $(tail -n 1 "$home/err")"

echo "in a second terminal: bash -c 'kill -SEGV \$\$'"
bash -c 'echo $$ > "$1"; ulimit -c 0; kill -SEGV $$' crash "$home/pid" || true
pid=$(cat "$home/pid")
await 5 "$home/out" "kernel\.process\.crash.*[^0-9]$pid([^0-9]|$)"
grep "kernel.process.crash" "$home/out" | head -n 3

target/release/tidegate tail -n 50 --event kernel.process.crash --output json > "$home/tail"
grep -Eq "\"process.pid\":$pid[,}]" "$home/tail" || { cat "$home/tail"; fail "tail does not show the crash"; }
await 5 "$home/data/events/kernel.jsonl" "kernel\.process\.crash"
grep -q "\"intValue\":\"$pid\"" "$home/data/events/kernel.jsonl" || fail "the local copy has no record of pid $pid"
target/release/tidegate spool inspect
target/release/tidegate doctor

echo "its metrics: promtool has nothing to say about them"
exec 3<> /dev/tcp/127.0.0.1/8888
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
sed '1,/^\r$/d' <&3 > "$home/metrics"
exec 3>&-
[ "$(grep -c '^# TYPE' "$home/metrics")" -gt 20 ] || { cat "$home/metrics"; fail "these are not its metrics"; }
promtool check metrics < "$home/metrics" || fail "promtool finds fault with its metrics"

kill -TERM "$agent"
code=0
wait "$cargo" || code=$?
agent=
[ "$code" = 0 ] || fail "SIGTERM ended it with $code"

# Runs the program as nobody with these capabilities: as_nobody FOLDER CAPABILITIES
as_nobody() {
    local folder=$home/$1 caps=$2
    chmod 755 "$home"
    install -m 755 target/release/tidegate "$home/tidegate"
    install -d -m 700 -o 65534 -g 65534 "$folder"
    forget_output
    TIDEGATE_DATA_DIR=$folder/data setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set "$caps" --inh-caps "$caps" \
        --ambient-caps "$caps" --no-new-privs "$home/tidegate" run > "$home/out" 2> "$home/err" < /dev/null &
    agent=$!
    await 30 "$home/err" '^ready in [0-9]+ ms$'
    cat "$home/err"
    kill -TERM "$agent"
    wait "$agent" || fail "SIGTERM ended it with $?"
    agent=
}

echo "as an ordinary user: it says what it may not attach, and goes on"
as_nobody ordinary -all
grep -Eq '^receiver kernel: 0 of [0-9]+ hooks attached$' "$home/err" || fail "no count of hooks"
grep -Eq '^  kernel\.oom\.kill: denied \(EPERM\): needs CAP_BPF and CAP_PERFMON$' "$home/err" || fail "no line that says what is needed"

echo "with the rights of the systemd unit, and no others: every hook attaches"
rights=$(sed -n 's/^AmbientCapabilities=//p' examples/systemd/tidegate.service | sed 's/CAP_/+/g; s/ /,/g' | tr '[:upper:]' '[:lower:]')
as_nobody unit "-all,$rights"
grep -Eq '^receiver kernel: ([0-9]+) of \1 hooks attached$' "$home/err" || fail "the unit's rights are not enough"
