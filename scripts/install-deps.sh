#!/bin/sh
# Finds out what building isovae lacks on this machine, and installs it where that is allowed.
#
#   scripts/install-deps.sh [build|python|ci] [--list]
#
# build (the default): what building and testing need. python: what the Python package needs beside
# that. ci: all of it, with the linters and the second compiler.
# --list prints what is missing and installs nothing.
# Exit status: 0 where nothing is missing (any more), 1 otherwise.
set -eu

set_name=build
list_only=no
for argument in "$@"; do
    case $argument in
    build | python | ci) set_name=$argument ;;
    --list) list_only=yes ;;
    *)
        echo "usage: scripts/install-deps.sh [build|python|ci] [--list]" >&2
        exit 2
        ;;
    esac
done

# Each entry: tool:NAME or module:PKG-CONFIG-NAME or file:GLOB, then the Debian package.
requirements() {
    cat <<'TABLE'
build tool:cc            gcc
build tool:make          make
build tool:cmake         cmake
build tool:pkg-config    pkg-config
build file:/usr/include/stdio.h libc6-dev
build module:jansson     libjansson-dev
build module:zlib        zlib1g-dev
build module:libzip      libzip-dev
build module:libpng      libpng-dev
build module:libturbojpeg libturbojpeg0-dev
build module:hdf5-serial libhdf5-dev
build module:matio       libmatio-dev
build module:libxxhash   libxxhash-dev
build module:libprotobuf-c libprotobuf-c-dev
build tool:protoc-c      protobuf-c-compiler
build file:/usr/include/onnx/onnx.proto libonnx-dev
build module:blas        libopenblas-serial-dev
build module:lapacke     liblapacke-dev
build module:popt        libpopt-dev
build module:cmocka      libcmocka-dev
python tool:python3      python3
python file:/usr/lib/python3.*/ensurepip/__init__.py python3-venv
ci    tool:gcc           gcc
ci    tool:python3       python3
ci    tool:g++           g++
ci    tool:clang         clang
ci    tool:clang-tidy    clang-tidy
ci    tool:clang-format  clang-format
ci    file:/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a libclang-rt-dev
ci    tool:shellcheck    shellcheck
ci    tool:mandoc        mandoc
ci    file:/usr/share/i18n/locales/de_DE locales
TABLE
}

is_there() {
    case $1 in
    tool:*) command -v "${1#tool:}" >/dev/null 2>&1 ;;
    module:*) pkg-config --exists "${1#module:}" >/dev/null 2>&1 ;;
    file:*)
        for file in ${1#file:}; do # the glob is meant
            [ -e "$file" ] && return 0
        done
        return 1
        ;;
    esac
}

# The missing packages, one a line.
missing() {
    requirements | while read -r when what package; do
        case $when in
        build | "$set_name") ;;
        *) if [ "$set_name" != ci ]; then continue; fi ;;
        esac
        is_there "$what" || echo "$package"
    done
}

packages=$(missing | tr '\n' ' ')
packages=${packages% }
[ -n "$packages" ] || exit 0
if [ "$list_only" = yes ]; then
    echo "$packages"
    exit 1
fi

as_root=
may_install=no
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        may_install=yes
    elif sudo -n true 2>/dev/null; then
        may_install=yes
        as_root="sudo -n"
    fi
fi
if [ "$may_install" = no ]; then
    {
        echo "isovae needs these Debian packages, and may not install them here:"
        echo "    $packages"
        echo "As root: apt-get install $packages"
        echo "On other systems install what docs/dependencies.md lists under that system's names."
    } >&2
    exit 1
fi

echo "installing: $packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_packages() {
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        $packages >"$log" 2>&1 </dev/null
}
# The lists of packages may be absent or old: refresh them where the first try fails.
if ! install_packages; then
    if ! $as_root apt-get update >"$log" 2>&1 </dev/null || ! install_packages; then
        tail -n 20 "$log" >&2
        echo "installing failed; by hand: apt-get update && apt-get install $packages" >&2
        exit 1
    fi
fi
left=$(missing | tr '\n' ' ')
if [ -n "$left" ]; then
    echo "still missing after installation: $left" >&2
    exit 1
fi
