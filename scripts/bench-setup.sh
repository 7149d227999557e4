#!/bin/sh
# Installs the peers of `make bench`: Debian's PyTorch for its own python3 (as root), and from PyPI a
# newer PyTorch and JAX into build/bench-venv. Large (6 GB: PyTorch's wheels bring CUDA with them),
# and optional: the benchmark leaves out what is not there.
set -u
cd "$(dirname "$0")/.." || exit 1

if ! /usr/bin/python3 -c 'import torch' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-torch \
            python3-numpy || echo "Debian's PyTorch could not be installed: left out" >&2
    else
        echo "Debian's PyTorch is left out: as root, apt-get install python3-torch" >&2
    fi
fi

mkdir -p build
venv=build/bench-venv
[ -x $venv/bin/python ] || python3 -m venv $venv || exit 1
for package in 'jax[cpu]' torch; do
    $venv/bin/pip install --quiet "$package" ||
        echo "$package could not be installed from PyPI: left out" >&2
done
$venv/bin/pip list 2>/dev/null | grep -E '^(jax|jaxlib|torch|numpy) ' || true
