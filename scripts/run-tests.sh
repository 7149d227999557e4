#!/bin/bash
# Runs every test executable of a build and every script in tests/cli, and sums their cases.
#
#   scripts/run-tests.sh [BUILD_DIR] [--only PATTERN] [--no-cli] [--update]
#
# BUILD_DIR      default build; executables are BUILD_DIR/tests/test_*
# --only GLOB    only executables and scripts whose name matches, without the expectation
# --no-cli       unit tests alone
# --update       write tests/expected_counts.txt from this run
#
# Ends with "N passed, N failed, N skipped". A crash or a timeout is a failed case, and so is each
# executable that ran fewer cases than tests/expected_counts.txt says. Environment: ISOVAE_DATA (the
# data folder), ISOVAE_TEST_TIMEOUT (seconds for one executable, default 600), ISOVAE_TEST_JOBS
# (default: one a processor).
#
# A script in tests/cli runs in an empty folder of its own with ISOVAE (the command) and ISOVAE_ROOT
# (this repository) set, and prints "ok - NAME", "not ok - NAME" or "ok - NAME # skip WHY" per case.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)

# One executable, called by xargs below: log and exit status into the log folder.
if [ "${1-}" = --one ]; then
    program=$2
    logs=$3
    name=$(basename "$program" .sh)
    case $program in
    *.sh)
        name=cli_$name
        place=$logs/$name.dir
        rm -rf "$place"
        mkdir -p "$place"
        command=(bash "$program")
        ;;
    *)
        place=$root
        command=("$program")
        ;;
    esac
    start=$(date +%s)
    (cd "$place" && exec timeout -k 10 "${ISOVAE_TEST_TIMEOUT:-600}" "${command[@]}") \
        >"$logs/$name.log" 2>&1 </dev/null
    echo "$? $(($(date +%s) - start))" >"$logs/$name.status"
    exit 0
fi

build=$root/build
only='*'
cli=yes
update=no
while [ $# -gt 0 ]; do
    case $1 in
    --only)
        only=$2
        shift
        ;;
    --no-cli) cli=no ;;
    --update) update=yes ;;
    -*)
        sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    *) build=$1 ;;
    esac
    shift
done
build=$(cd "$build" && pwd) || exit 2
data=${ISOVAE_DATA:-$root/../shared/data}
ISOVAE_DATA=$(cd "$data" 2>/dev/null && pwd || echo "$data")
export ISOVAE_DATA ISOVAE_ROOT=$root ISOVAE=$build/isovae
# A size that a damaged file promises must come back as "out of memory", not end the program.
export ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1:${ASAN_OPTIONS-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS-}"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS-}"

logs=$build/test-logs
rm -rf "$logs"
mkdir -p "$logs"
programs=()
for program in "$build"/tests/test_*; do
    name=$(basename "$program")
    # an executable whose source is gone is left over from an older build
    [ -x "$program" ] && [ -f "$program" ] && [ -f "$root/tests/$name.c" ] || continue
    # shellcheck disable=SC2053 # a pattern is meant
    [[ $name == $only ]] && programs+=("$program")
done
if [ $cli = yes ]; then
    for program in "$root"/tests/cli/*.sh; do
        name=cli_$(basename "$program" .sh)
        # shellcheck disable=SC2053
        [ -f "$program" ] && [[ $name == $only ]] && programs+=("$program")
    done
fi
if [ ${#programs[@]} = 0 ]; then
    echo "no tests in $build/tests; build first" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
printf '%s\0' "${programs[@]}" |
    xargs -0 -P "${ISOVAE_TEST_JOBS:-$(nproc)}" -I {} bash "$0" --one {} "$logs"

# "passed failed skipped" of one log. cmocka repeats failed names in its summary: only the line that
# follows a RUN counts. A case that began and never ended took the program with it.
count_cmocka() {
    awk '/^\[ RUN      \]/ { if (open) failed++; open = 1; next }
         /^\[       OK \]/ && open { passed++; open = 0; next }
         /^\[  SKIPPED \]/ && open { skipped++; open = 0; next }
         /^\[  FAILED  \]/ && open { failed++; open = 0; next }
         END { if (open) failed++; print passed + 0, failed + 0, skipped + 0 }' "$1"
}
count_tap() {
    awk '/^ok .*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
         /^ok / { passed++ }
         /^not ok / { failed++ }
         END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

expectations=$root/tests/expected_counts.txt
expected_of() {
    [ -f "$expectations" ] && awk -v name="$1" '$1 == name { print $2 }' "$expectations"
}

total_passed=0 total_failed=0 total_skipped=0
counts=
for program in "${programs[@]}"; do
    name=$(basename "$program" .sh)
    case $program in
    *.sh)
        name=cli_$name
        read -r passed failed skipped < <(count_tap "$logs/$name.log")
        ;;
    *) read -r passed failed skipped < <(count_cmocka "$logs/$name.log") ;;
    esac
    read -r status seconds <"$logs/$name.status"
    note=
    case $status in
    124 | 137) note=" timed out" ;;
    *) # a program that came to its end says so; a script's end shows in its cases alone
        if [ "${program##*.}" != sh ] && ! grep -q 'test(s) run\.$' "$logs/$name.log"; then
            note=" ended early with status $status"
        elif [ "$status" -ne 0 ] && [ "$failed" = 0 ]; then
            note=" ended with status $status"
        fi
        ;;
    esac
    [ -n "$note" ] && [ "$failed" = 0 ] && failed=1
    ran=$((passed + failed + skipped))
    counts+="$name $ran"$'\n'
    if [ "$ran" = 0 ]; then
        failed=1
        note+=" ran no case"
    fi
    expected=$(expected_of "$name")
    if [ $update = no ] && [ "$only" = '*' ] && [ -n "$expected" ] && [ "$ran" -lt "$expected" ]; then
        failed=$((failed + expected - ran))
        note+=" ran $ran of $expected cases"
    fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    if [ "$failed" -gt 0 ]; then
        echo "---- $name:$note ----"
        grep -vE '^\[( RUN     |       OK|  PASSED  |==========)' "$logs/$name.log" | grep -v '^ok ' |
            tail -n 60
        echo "FAIL $name ($passed passed, $failed failed, $skipped skipped, $seconds s;" \
            "log: $logs/$name.log)"
    else
        skips=
        [ "$skipped" -gt 0 ] && skips=", $skipped skipped"
        echo "ok   $name ($passed passed$skips, $seconds s)"
    fi
done

if [ $update = yes ] && [ "$only" = '*' ] && [ $cli = yes ]; then
    {
        echo "# Cases per test executable; scripts/run-tests.sh fails where fewer run."
        echo "# Written by scripts/run-tests.sh --update."
        printf '%s' "$counts" | sort
    } >"$expectations"
elif [ "$only" = '*' ] && [ -f "$expectations" ]; then
    # Executables that are expected and were not built or found at all.
    while read -r name expected; do
        case $name in
        '' | '#'*) continue ;;
        cli_*) [ $cli = no ] && continue ;;
        esac
        if ! grep -q "^$name " <<<"$counts"; then
            echo "FAIL $name: expected $expected cases, and there is no such test in this build"
            total_failed=$((total_failed + expected))
        fi
    done <"$expectations"
fi
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ "$total_failed" = 0 ]
