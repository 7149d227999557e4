#!/bin/sh
# Compares what the shared library exports with the committed list docs/abi-symbols.txt, or
# docs/abi-symbols-runtime.txt for libisovae-runtime.
#
#   scripts/check-abi.sh LIBRARY [--update]
#
# Exit status: 0 the same, 1 different. A new function belongs on the list (--update). A function
# that is gone or changed breaks programs: raise ISOVAE_ABI in isovae.h with it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
library=${1:?usage: scripts/check-abi.sh LIBRARY [--update]}
list=$root/docs/abi-symbols.txt
case $(basename "$library") in
libisovae-runtime.*) list=$root/docs/abi-symbols-runtime.txt ;;
esac
exported=$(mktemp)
trap 'rm -f "$exported"' EXIT
# The sanitizers' and coverage's own symbols are not ours; everything else must be isovae_*.
nm -D --defined-only "$library" | awk '{ print $NF }' | LC_ALL=C sort -u >"$exported"
if [ "${2-}" = --update ]; then
    cp "$exported" "$list"
    exit 0
fi
if grep -v '^isovae_' "$exported" >&2; then
    echo "$library exports the above, which is not part of the interface" >&2
    exit 1
fi
if ! diff -u "$list" "$exported" >&2; then
    echo "$library exports other symbols than $list; see scripts/check-abi.sh" >&2
    exit 1
fi
