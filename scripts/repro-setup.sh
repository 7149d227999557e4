#!/bin/sh
# Makes build/repro-venv, the Python of the experiments (repro/requirements.txt; with "peers" also
# scikit-learn and PyOD, to which they are compared, with "peers torch" also PyTorch, which only the VAE
# of PyOD needs: gigabytes).
set -eu
cd "$(dirname "$0")/.." || exit 1

venv=build/repro-venv
mkdir -p build
if [ ! -x $venv/bin/python ]; then
    python3 -m venv $venv.new || {
        echo "python3 lacks venv: apt-get install python3-venv" >&2
        exit 1
    }
    rm -rf $venv.new
    python3 -m venv $venv
fi
install() { # MODULE REQUIREMENTS
    $venv/bin/python -c "import $1" 2>/dev/null ||
        $venv/bin/pip install --quiet --disable-pip-version-check -r "$2"
}
install "numpy, scipy, matplotlib, h5py" repro/requirements.txt
if [ "${1-}" = peers ]; then install "sklearn, pyod" repro/requirements-peers.txt; fi
if [ "${2-}" = torch ]; then install torch repro/requirements-torch.txt; fi
