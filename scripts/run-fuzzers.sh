#!/bin/bash
# Runs each fuzzer of a build on its kept corpus for some seconds.
#
#   scripts/run-fuzzers.sh [SECONDS] [BUILD_DIR]      (defaults: 10, build/fuzz)
#
# The kept corpus is fuzz/corpus/NAME for the fuzzer fuzz_NAME; new inputs go to BUILD_DIR/work/NAME
# and are read again by the next run; what crashed is left in BUILD_DIR/crashes. Fuzzers run one per
# processor. Exit status 1 where one found something.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS-}"

if [ "${1-}" = --one ]; then
    program=$2 seconds=$3 build=$4
    name=$(basename "$program")
    short=${name#fuzz_}
    mkdir -p "$build/work/$short" "$build/crashes"
    corpora=("$build/work/$short")
    [ -d "$root/fuzz/corpus/$short" ] && corpora+=("$root/fuzz/corpus/$short")
    options=()
    [ -f "$root/fuzz/$short.dict" ] && options+=("-dict=$root/fuzz/$short.dict")
    cd "$build" || exit 1
    if "$program" "${options[@]}" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="$build/crashes/$short-" -print_final_stats=1 "${corpora[@]}" \
        >"$build/$name.log" 2>&1 </dev/null; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
        echo "ok   $name (${runs:-?} runs)"
    else
        tail -n 40 "$build/$name.log"
        echo "FAIL $name (log: $build/$name.log)"
        exit 1
    fi
    exit 0
fi

seconds=${1:-10}
build=$(cd "${2:-$root/build/fuzz}" && pwd) || exit 1
programs=()
for program in "$build"/fuzzers/fuzz_*; do
    [ -x "$program" ] && [ -f "$root/fuzz/$(basename "$program").c" ] && programs+=("$program")
done
if [ ${#programs[@]} = 0 ]; then
    echo "no fuzzers in $build/fuzzers" >&2
    exit 1
fi
printf '%s\0' "${programs[@]}" |
    xargs -0 -P "$(nproc)" -I {} bash "$0" --one {} "$seconds" "$build" || exit 1
