# Shared by the scripts in tests/cli. A script runs in an empty folder of its own and prints one line
# per case: "ok - NAME", "not ok - NAME" with reasons, or "ok - NAME # skip WHY".
#
# ISOVAE         the command (default: build/isovae of this repository)
# UPDATE=1       write the expectation files anew instead of comparing with them
# shellcheck shell=bash disable=SC2034
root=${ISOVAE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)}
isovae=${ISOVAE:-$root/build/isovae}
expected=$root/tests/expected/cli
update=${UPDATE:-0}
failures=0
unset NO_COLOR
if [ -z "${ISOVAE_ROOT-}" ]; then # by hand: a folder that goes away
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    cd "$place" || exit 1
fi

pass() { echo "ok - $1"; }
skip() { echo "ok - $1 # skip $2"; }
fail() { # NAME REASON...
    echo "not ok - $1"
    shift
    printf '#   %s\n' "$@"
    failures=$((failures + 1))
}

# check NAME COMMAND...: the command succeeds
check() {
    local name=$1
    shift
    if "$@" >check.log 2>&1; then
        pass "$name"
    else
        fail "$name" "failed: $*" "$(head -n 5 check.log)"
    fi
}

# run COMMAND...: standard output, standard error and exit status into ./out, ./err, $status
run() {
    "$@" >out 2>err </dev/null
    status=$?
}

# expect NAME EXIT COMMAND...: runs the command; its exit status is EXIT and what it writes is what
# stands in tests/expected/cli/NAME.txt. A sed script in $filter is applied before comparing. A missing
# file is a failure.
expect() {
    local name=$1 wanted=$2 file=$expected/$1.txt
    shift 2
    run "$@"
    {
        echo "exit status: $status"
        echo "---- standard output"
        sed -e "${filter-}" out
        echo "---- standard error"
        sed -e "${filter-}" err
    } >seen
    if [ "$update" = 1 ] && [ "$status" = "$wanted" ]; then
        mkdir -p "$expected"
        cp seen "$file"
    fi
    if [ "$status" != "$wanted" ]; then
        fail "$name" "exit status $status, wanted $wanted" "$(head -n 3 err)"
    elif [ ! -f "$file" ]; then
        fail "$name" "no expectation: $file (UPDATE=1 writes it)"
    elif ! diff -u "$file" seen >difference; then
        fail "$name" "differs from $file:" "$(head -n 40 difference)"
    else
        pass "$name"
    fi
}

# refuse NAME EXIT COMMAND...: like expect, and what every refusal must keep to: one line on standard
# error, nothing on standard output, no file in the folder that was not there before.
refuse() {
    local name=$1 before after
    before=$(find . -type f ! -name out ! -name err ! -name seen ! -name difference | sort)
    expect "$@"
    after=$(find . -type f ! -name out ! -name err ! -name seen ! -name difference | sort)
    if [ -s out ]; then fail "$name: quiet on standard output" "$(head -n 3 out)"; fi
    if [ "$(wc -l <err)" != 1 ]; then fail "$name: one line on standard error" "$(cat err)"; fi
    if [ "$before" != "$after" ]; then fail "$name: nothing written" "$after"; fi
}

finish() { [ "$failures" = 0 ]; }
