# SPDX-License-Identifier: MIT
# Thin verbs over meson and ninja; the work is in scripts/. One build directory a
# configuration: build/release, build/test, build/clang, build/asan, build/tsan.
PREFIX ?= /usr/local
# Seconds that each target runs in `make fuzz`; before SECONDS gets another default.
FUZZ_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)
# Seconds that each stress program runs in `make stress`.
override SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),10)
# The build that `make stress` runs: test, asan or tsan.
override CONFIG := $(if $(filter command line,$(origin CONFIG)),$(CONFIG),test)
# Percentage of the random tests' length under the slow sanitizers.
SANITIZER_SCALE ?= 10
# How many source mutations `make mutants` tries: a number or all.
MUTANTS ?= all
# How often `make selftests` runs everything.
REPEAT ?= 1

.NOTPARALLEL:
.DEFAULT_GOAL := release
.PHONY: release demo test asan tsan stress fault mutants fuzz models counts lint gate install \
	selftests bench abi abi-update cross clean help

release: ## the optimised library and command line: build/release/mslot (also plain `make`)
	@scripts/install-deps build
	@scripts/build release

demo: release ## replay two recorded streams of a real VMM, one by one and as transactions
	@build/release/mslot replay --as both \
		data/traces/q35-pam-smram.txt data/traces/q35-dimm250-plug-unplug.txt

test: ## all test programs, in under three minutes
	@scripts/install-deps build test
	@scripts/run-tests test

asan: ## the test programs under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/install-deps build test
	@MSLOT_TEST_SCALE=$(SANITIZER_SCALE) scripts/run-tests asan --no-suite lint --timeout-multiplier 5

tsan: ## the test programs under ThreadSanitizer
	@scripts/install-deps build test clang
	@MSLOT_TEST_SCALE=$(SANITIZER_SCALE) scripts/run-tests tsan --no-suite lint --timeout-multiplier 10

stress: ## each stress program for SECONDS=N (default 10); CONFIG=test (default), asan or tsan
	@scripts/install-deps build test $(if $(filter tsan,$(CONFIG)),clang)
	@scripts/stress $(SECONDS) $(CONFIG)

fuzz: ## each fuzz target for SECONDS=N (default 60), against its twin
	@scripts/install-deps build test clang
	@scripts/fuzz $(FUZZ_SECONDS)

fault: ## every operation with every allocation failing, one by one
	@scripts/install-deps build test
	@scripts/run-tests test --suite fault --verbose

mutants: ## mistakes in a copy of the source, each killed by a named test; MUTANTS=N for a sample
	@scripts/install-deps build test clang
	@scripts/mutants $(MUTANTS)

selftests: ## the kernel's own KVM tests under `mslot kvm`, REPEAT=N times; unpacks Debian's kernel source
	@scripts/install-deps build
	@scripts/install-deps selftests || true
	@scripts/selftests --repeat $(REPEAT)

models: ## check the Spin models of the protocols and that each mutation of them fails
	@scripts/install-deps models
	@scripts/install-deps quick-models || true
	@models/run

counts: ## instructions of the hot paths under callgrind, against tests/counts/expected
	@scripts/install-deps build test valgrind
	@scripts/counts

lint: ## formatting, static analysis, and the project's own rules
	@scripts/install-deps build test clang lint
	@scripts/lint

gate: ## everything that must pass, as continuous integration runs it
	@scripts/install-deps build test clang lint models valgrind
	@scripts/install-deps quick-models || true
	@scripts/install-deps selftests || true
	@scripts/gate

install: ## install below PREFIX (default /usr/local), staged in DESTDIR if set
	@scripts/install-deps build
	@scripts/install '$(PREFIX)'

bench: ## measure lookups, commits, set-up and memory, beside what Debian has of others
	@scripts/install-deps build
	@scripts/install-deps bench || echo "bench: going on without the peers that are missing"
	@scripts/build release
	@build/release/mslot bench

abi: release ## compare exported symbols with tests/abi/mslot.syms
	@scripts/abi

abi-update: release ## rewrite tests/abi/mslot.syms from the library
	@scripts/abi --update

cross: ## compile the library for aarch64 (downloads that architecture's headers to build/)
	@scripts/install-deps build cross
	@scripts/cross

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
