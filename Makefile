# A thin front of CMake; `make help` lists the targets.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local
SECONDS_FUZZ ?= 10
MAKEFLAGS += --no-print-directory
BUILD = cmake --preset $(1) >build/$(1)-configure.log 2>&1 || { cat build/$(1)-configure.log; exit 1; }; \
        cmake --build --preset $(1) -j $(JOBS)

all: ## build the command and the libraries: build/isovae, build/libisovae.*
	@mkdir -p build
	@$(call BUILD,release)

demo: deps ## install what is missing, build the command, train and report: build/demo/report.html
	@mkdir -p build/demo
	@$(call BUILD,release) --target isovae
	build/isovae demo -o build/demo

test: deps all ## install what is missing, build, run all tests
	@scripts/run-tests.sh build

deps: ## install what building and testing need (Debian packages)
	@scripts/install-deps.sh build

deps-python:
	@scripts/install-deps.sh python

install: all ## install below PREFIX (default /usr/local; DESTDIR is honoured)
	cmake --install build --prefix $(PREFIX)

debug asan tsan coverage: ## build with this preset and run the unit tests: build/debug, build/asan ...
	@mkdir -p build
	@$(call BUILD,$@)
	@ISOVAE_TEST_SHORT=1 scripts/run-tests.sh build/$@ --no-cli

fuzz: ## run each fuzzer for SECONDS_FUZZ=10 seconds on its corpus (needs clang)
	@mkdir -p build
	@$(call BUILD,fuzz)
	@scripts/run-fuzzers.sh $(SECONDS_FUZZ) build/fuzz

python: deps-python ## build the Python package and install it into build/python-venv
	@mkdir -p build
	@scripts/python.sh install

python-test: deps-python ## the same, and run its tests
	@mkdir -p build
	@scripts/python.sh test

wheel: deps-python ## dist/: a wheel with its libraries inside, tested in a fresh environment
	@mkdir -p build
	@scripts/python.sh wheel

bench: deps bench-program ## speed beside PyTorch and JAX, under 20 minutes: build/bench.json
	python3 bench/run.py --program build/isovae-bench --out build/bench.json

bench-full: deps bench-program ## the same with more repeats and whole fits of the peers
	python3 bench/run.py --program build/isovae-bench --out build/bench.json --full

bench-program:
	@mkdir -p build
	@cmake --preset release -DISOVAE_BENCH=ON >build/bench-configure.log 2>&1 || \
	    { cat build/bench-configure.log; exit 1; }
	@cmake --build --preset release --target isovae-bench -j $(JOBS)

bench-setup: ## install the peers of the benchmark (PyTorch, JAX) into build/bench-venv
	@scripts/bench-setup.sh

repro: deps all ## the experiments that take two cores an hour: docs/results.md, build/repro/results.html
	@scripts/repro-setup.sh
	build/repro-venv/bin/python repro/run.py

repro-full: deps all ## all experiments, with scikit-learn and PyOD beside; hours
	@scripts/repro-setup.sh peers
	build/repro-venv/bin/python repro/run.py --full

repro-smoke: all ## a short form of each experiment, to see that it works
	@scripts/repro-setup.sh
	build/repro-venv/bin/python repro/run.py --smoke

lint: ## layers, format, clang-tidy, shellcheck, man pages
	@scripts/lint.sh

format: ## rewrite the C sources by .clang-format
	@scripts/lint.sh --format

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z][a-z -]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | \
	    awk -F '\t' '{ printf "  %-26s %s\n", $$1, $$2 }'

.NOTPARALLEL:
.PHONY: all demo test deps deps-python install debug asan tsan coverage fuzz bench bench-full bench-program bench-setup repro repro-full repro-smoke python python-test wheel lint format clean help
