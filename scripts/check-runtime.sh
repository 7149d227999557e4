#!/bin/bash
# Builds libisovae-runtime and checks it: what it needs, what it exports, its package files, and that
# it gives the same bits as the full library for a model that the latter trained.
#
#   scripts/check-runtime.sh FULL [WORK]
#
# FULL: a build folder of the full library (build/isovae and libisovae.so in it); WORK: where to build
# (default build/ci-runtime). Exit status 0 where everything holds.
set -eu
cd "$(dirname "$0")/.."
full=$(cd "${1:?usage: scripts/check-runtime.sh FULL [WORK]}" && pwd)
work=${2:-build/ci-runtime}
mkdir -p "$work"
work=$(cd "$work" && pwd)

fail() {
    echo "check-runtime: $*" >&2
    exit 1
}

cmake -S . -B "$work" -DISOVAE_RUNTIME_ONLY=ON -DISOVAE_WERROR=ON -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_FLAGS_RELEASE="-O2 -g" -DCMAKE_C_COMPILER="${CC:-gcc}"
cmake --build "$work" -j "$(nproc)"
library=$work/libisovae-runtime.so

# Nothing but the C library, libm, jansson and the hash.
needed=$(objdump -p "$library" | awk '$1 == "NEEDED" { print $2 }')
echo "needs:" $needed
for name in $needed; do
    case $name in
    libc.so.* | libm.so.* | libpthread.so.* | ld-linux* | libjansson.so.* | libxxhash.so.*) ;;
    *) fail "libisovae-runtime needs $name" ;;
    esac
done
case $(ldd "$library") in
*"not found"*) fail "a library that it needs is not there" ;;
*lapack* | *blas* | *libz.* | *libzip* | *libpng* | *turbojpeg* | *hdf5* | *matio*) fail "it loads more than it may" ;;
esac
scripts/check-abi.sh "$library"

# The installed tree: through pkg-config, against CMake's package, and statically.
stage=$work/stage
rm -rf "$stage"
cmake --install "$work" --prefix "$stage" >/dev/null
libdir=$(dirname "$(find "$stage" -name libisovae-runtime.so)")
export PKG_CONFIG_PATH=$libdir/pkgconfig
cc=${CC:-gcc}
# shellcheck disable=SC2046 # lists of words
$cc -std=c17 -O2 -Wall -Wextra -Werror tests/service/run_model.c -o "$work/run_model" \
    $(pkg-config --cflags --libs isovae-runtime)
# shellcheck disable=SC2046
$cc -std=c17 -O2 -Wall -Wextra -Werror -pthread examples/score_server.c -o "$work/score_server" \
    $(pkg-config --cflags --libs isovae-runtime) -lm
# shellcheck disable=SC2046
$cc -std=c17 $(pkg-config --cflags isovae-runtime) tests/service/run_model.c \
    "$libdir/libisovae-runtime.a" \
    $(pkg-config --static --libs isovae-runtime | sed 's/-lisovae-runtime//') \
    -o "$work/run_model_static"
$cc -std=c17 -O2 -Iinclude tests/service/run_model.c "$full/libisovae.so" -o "$work/run_model_full"
printf '%s\n' 'cmake_minimum_required(VERSION 3.22)' 'project(consumer C)' \
    'find_package(isovae-runtime REQUIRED)' \
    "add_executable(consumer $PWD/tests/service/run_model.c)" \
    'target_link_libraries(consumer PRIVATE isovae::isovae-runtime)' >"$work/consumer.txt"
mkdir -p "$work/consumer"
mv "$work/consumer.txt" "$work/consumer/CMakeLists.txt"
cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$stage" >/dev/null
cmake --build "$work/consumer/build" >/dev/null

# What is left out must not be declared either.
printf '#include <isovae/isovae.h>\nint main(void) { return isovae_fit != 0; }\n' >"$work/absent.c"
# shellcheck disable=SC2046
if $cc -std=c17 -fsyntax-only $(pkg-config --cflags isovae-runtime) "$work/absent.c" 2>/dev/null; then
    fail "the header of libisovae-runtime declares isovae_fit"
fi

# The same bits.
model=$work/model.safetensors
"$full/isovae" fit toy:mixa,n=2000 -o "$model" --steps 400 --threads 1 -q
LD_LIBRARY_PATH=$full "$work/run_model_full" "$model" >"$work/expected.txt"
LD_LIBRARY_PATH=$libdir "$work/run_model" "$model" >"$work/shared.txt"
"$work/run_model_static" "$model" >"$work/static.txt"
"$work/consumer/build/consumer" "$model" >"$work/consumer.txt"
for result in shared static consumer; do
    cmp "$work/expected.txt" "$work/$result.txt" ||
        fail "$result: the runtime library gives other numbers than the full one"
done
[ "$(wc -l <"$work/expected.txt")" -gt 1000 ] || fail "the full library printed too little"

# A server on it allocates nothing and does not grow.
LD_LIBRARY_PATH=$libdir "$work/score_server" "$model" -t 8 -n 100000 -p 0 >"$work/server.txt"
cat "$work/server.txt"
grep -q '"allocations": 0,' "$work/server.txt" || fail "the server allocated while scoring"
tail -n 1 "$work/server.txt" | tr -d '{},"' | awk '
    { for (i = 1; i < NF; i++) { if ($i == "rss_before_kib:") before = $(i + 1)
                                 if ($i == "rss_after_kib:") after = $(i + 1) } }
    END { exit !(before > 0 && after <= before + 1024) }' || fail "the server grew"
