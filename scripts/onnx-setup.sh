#!/bin/sh
# Installs what tests/onnx/ compares with into build/onnx-venv, from PyPI: numpy, onnx and ONNX
# Runtime, and with the argument "exporters" also PyTorch and its exporter (6 GB: its wheels bring
# CUDA with them).
set -eu
cd "$(dirname "$0")/.."
venv=build/onnx-venv
mkdir -p build
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/pip install --quiet numpy onnx onnxruntime
if [ "${1-}" = exporters ]; then $venv/bin/pip install --quiet torch onnxscript; fi
$venv/bin/pip list 2>/dev/null | grep -E '^(numpy|onnx|onnxruntime|onnxscript|torch) '
