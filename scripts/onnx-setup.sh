#!/bin/sh
# Installs what tests/onnx/ compares with, from PyPI.
#
#   scripts/onnx-setup.sh              build/onnx-venv: numpy, onnx and ONNX Runtime
#   scripts/onnx-setup.sh exporters    and PyTorch with its exporter (6 GB: its wheels bring CUDA)
#   scripts/onnx-setup.sh frameworks   build/frameworks-venv: Keras with tf2onnx, JAX and flax with
#                                      jax2onnx (2.4 GB)
set -eu
cd "$(dirname "$0")/.."
what=${1-}
venv=build/onnx-venv
[ "$what" != frameworks ] || venv=build/frameworks-venv
mkdir -p build
[ -x $venv/bin/python ] || python3 -m venv $venv
$venv/bin/pip install --quiet numpy onnx onnxruntime
case $what in
exporters) $venv/bin/pip install --quiet torch onnxscript ;;
frameworks)
    $venv/bin/pip install --quiet tensorflow-cpu tf2onnx
    $venv/bin/pip install --quiet jax flax jax2onnx
    ;;
esac
$venv/bin/pip list 2>/dev/null |
    grep -E '^(numpy|onnx|onnxruntime|onnxscript|torch|tensorflow_cpu|tf2onnx|keras|jax|flax|jax2onnx) '
