#!/bin/bash
# Everything that is checked without running the code. Exit status 1 where something is found.
#
#   scripts/lint.sh             layers, format, clang-tidy, shellcheck, man pages, docs/c-api.md
#   scripts/lint.sh --format    rewrite the C sources by .clang-format instead
#
# clang-tidy reads the compile commands of build/ci-clang or build, whichever is there.
set -u
cd "$(dirname "$0")/.." || exit 1
mapfile -t sources < <(find src cli tests fuzz examples include bench -name '*.[ch]' 2>/dev/null | sort)
failed=0

if [ "${1-}" = --format ]; then
    clang-format -i "${sources[@]}"
    exit
fi

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then
        echo "ok   $name"
    else
        echo "FAIL $name"
        failed=1
    fi
}

format_check() {
    clang-format --dry-run --Werror "${sources[@]}" 2>&1 | grep -E '(error|warning):' | cut -d: -f1 |
        sort | uniq -c | awk '{ print "     " $2 ": " $1 " places; make format"; bad = 1 }
                              END { exit bad }'
}

tidy_check() {
    local database=
    for folder in build/ci-clang build; do
        [ -z "$database" ] && [ -f $folder/compile_commands.json ] && database=$folder
    done
    if [ -z "$database" ]; then
        echo "     no compile_commands.json; run make first"
        return 1
    fi
    find src cli -name '*.c' -print0 | sort -z | xargs -0 -n 4 -P "$(nproc)" \
        clang-tidy -p "$database" --quiet 2>/dev/null
}

man_check() {
    # Only warnings that a reader sees; the style advice on dates and the like is left out.
    [ -z "$(ls man/*.1 2>/dev/null)" ] || mandoc -T lint -W warning man/*.1
}

mapfile -t scripts < <(find .ci scripts tests/cli -type f \( -name '*.sh' -o -name run \) | sort)
check "layers (scripts/check-layers.sh)" scripts/check-layers.sh
check "clang-format" format_check
check "shellcheck" shellcheck -S warning "${scripts[@]}"
check "man pages" man_check
check "docs/c-api.md (scripts/c-api-docs.py)" python3 scripts/c-api-docs.py --check
check "clang-tidy" tidy_check
exit $failed
