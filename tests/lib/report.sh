# Runs steps, each with a name, a time and a kept log; sourced by tests/run.

LOGS=target/test-logs
HEARTBEAT_S=30
SHOWN_LINES=300
# What a test, a compiler or a guest's kernel says when it fails; with so many lines of it.
REASONS=' panicked at |^error(\[|:)|^Error:|Out of memory: Killed|^test .* FAILED$'
REASON_LINES=60

PLAN=()
declare -A RESULT JOB
BROKEN=()
PASSED=0 FAILED=0
BEGAN=$SECONDS

# Puts the steps and, before each, what it needs into PLAN, each once.
plan_steps() {
    local step need
    for step in "$@"; do
        case " ${PLAN[*]} " in *" $step "*) continue ;; esac
        for need in ${NEEDS[$step]:-}; do plan_steps "$need"; done
        PLAN+=("$step")
    done
}

list_steps() {
    local step
    for step in "${ALL_STEPS[@]}"; do
        printf '%-16s %s%s\n' "$step" "${TITLE[$step]}" "${NEEDS[$step]:+ (needs ${NEEDS[$step]})}"
    done
}

is_step() { [ -n "${TITLE[$1]:-}" ]; }

# The function of a step is its name with underscores. It runs in a process group of its own, so that all of it can be ended.
launch() {
    local step=$1
    set -m
    (
        set -euo pipefail
        trap 'echo $((SECONDS - began)) > "$LOGS/$step.seconds"' EXIT
        began=$SECONDS
        "step_${step//[-.]/_}"
    ) > "$LOGS/$step.log" 2>&1 < /dev/null &
    JOB[$step]=$!
    set +m
}

# Starts every planned step that only downloads or builds what a later one needs.
start_background() {
    [ "${RESULT[debian]}" = passed ] || return 0
    local step
    for step in "${BACKGROUND[@]}"; do
        case " ${PLAN[*]} " in *" $step "*) launch "$step"; echo "      $step: started in the background" ;; esac
    done
}

run_step() {
    local step=$1 need
    for need in ${NEEDS[$step]:-}; do
        if [ "${RESULT[$need]:-}" != passed ]; then
            RESULT[$step]=failed FAILED=$((FAILED + 1))
            echo "FAIL  $step: not run, it needs $need"
            return
        fi
    done
    echo "      $step: ${TITLE[$step]}"
    [ -n "${JOB[$step]:-}" ] || launch "$step"
    heartbeat "$step" &
    local beat=$! code=0
    wait "${JOB[$step]}" || code=$?
    kill "$beat" 2> /dev/null
    wait "$beat" 2> /dev/null
    unset "JOB[$step]"
    local seconds
    seconds=$(cat "$LOGS/$step.seconds" 2> /dev/null || echo '?')
    if [ "$code" = 0 ]; then
        RESULT[$step]=passed PASSED=$((PASSED + 1))
        grep -h '^figure: ' "$LOGS/$step.log" | sed 's/^figure: /        /'
        echo "ok    $step: $seconds s"
    else
        RESULT[$step]=failed FAILED=$((FAILED + 1))
        BROKEN+=("$step")
        echo "----- $LOGS/$step.log, its last $SHOWN_LINES lines"
        tail -n $SHOWN_LINES "$LOGS/$step.log"
        echo "-----"
        echo "FAIL  $step: exit code $code after $seconds s; the whole output is in $LOGS/$step.log"
    fi
}

# Says now and then that a long step is alive, and what it last said.
heartbeat() {
    local waited=0 last
    while sleep $HEARTBEAT_S; do
        waited=$((waited + HEARTBEAT_S))
        last=$(tail -c 400 "$LOGS/$1.log" 2> /dev/null | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-100)
        echo "      $1: $waited s … $last"
    done
}

# The reasons of a failed step, for who sees the end of a long output only.
reasons() {
    echo
    echo "why $1 failed, from $LOGS/$1.log:"
    grep -aE -A 4 "$REASONS" "$LOGS/$1.log" | cut -c 1-600 | head -n $REASON_LINES
}

stop_jobs() {
    local step
    for step in "${!JOB[@]}"; do kill -TERM -- "-${JOB[$step]}" 2> /dev/null; done
    return 0
}

# What the steps took that prove the log's promise, when all of them ran.
proof_of_the_log() {
    local step sum=0
    for step in "${LOG_PROOF[@]}"; do
        [ "${RESULT[$step]:-}" = passed ] || return 0
        sum=$((sum + $(cat "$LOGS/$step.seconds")))
    done
    echo "the log's proof: $sum s, of $LOG_PROOF_S that it may take"
    [ "$sum" -le $LOG_PROOF_S ] || [ -n "${TIDEGATE_LONG:-}" ] || echo "that is too long: see LOG_PROOF in tests/lib/steps.sh"
}

summarise() {
    local step
    for step in "${BROKEN[@]}"; do reasons "$step"; done
    echo
    for step in "${PLAN[@]}"; do
        printf '%-6s %-16s %5s s\n' "${RESULT[$step]}" "$step" "$(cat "$LOGS/$step.seconds" 2> /dev/null || echo -)"
    done
    proof_of_the_log
    echo "in $(((SECONDS - BEGAN) / 60)) min $(((SECONDS - BEGAN) % 60)) s"
    echo "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ]
}
