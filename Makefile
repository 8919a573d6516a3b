# Short words over the presets. Each sets up what it needs first; `make help` lists them.
PRESET ?= release
BUILD = build/$(PRESET)

.DEFAULT_GOAL := help
.PHONY: help setup setup-develop configure build demo test test-arm64 test-threads bench micro-bench verify install
.PHONY: consume format check-format lint docs clean

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup:  ## install the Debian packages that are missing
	@scripts/setup.sh build

setup-develop:
	@scripts/setup.sh develop

configure: setup
	@cmake --preset $(PRESET) > $(CURDIR)/.configure.log 2>&1 || { cat $(CURDIR)/.configure.log; exit 1; }
	@rm -f $(CURDIR)/.configure.log

build: configure  ## build the command: build/release/veloxquant
	cmake --build --preset $(PRESET) --target veloxquant_command

demo: build  ## measure the demo model: a table like the README's
	$(BUILD)/veloxquant benchmark --model models/demo/probe-6m-llama --method trellis:2,trellis:3,trellis:4 \
	  --seq-len 2048 --windows 2 --recall 4
	@echo
	@echo "The model was trained on programming manuals and has never seen text like these documents: hence its high"
	@echo "perplexity. What a method loses is its difference from the first row, KL and top-1 (models/demo/README.md)."

test: configure  ## build and run all tests
	cmake --build --preset $(PRESET)
	ctest --preset $(PRESET) -j 2

# The rooms that hold kernels, and the caches that hold their codes. Codes are the same as on x86-64: the saved
# caches among the tests say so. QEMU serves the levels NEON, NEON_DOT and those of SVE. The preset leaves out what
# counts bytes, plays long programs, or measures distortion or what the kernels of mixed codes round: these kernels
# are those of their runs, which have tests of their own, and emulated it takes minutes.
ARM64_TESTS = codebook_test codebook_trellis_test transform_test attention_tests cache_test
test-arm64:  ## build the core for 64-bit ARM and run its tests under QEMU
	@scripts/setup.sh cross
	cmake --preset arm64 > /dev/null
	cmake --build --preset arm64 --target $(ARM64_TESTS)
	ctest --preset arm64 -j 2

# The rooms whose tests use threads. The model runner's threads are OpenMP's, which the sanitizer cannot see.
THREAD_TESTS = core_test cache_test attention_tests calibration_test io_test
test-threads: setup-develop  ## build the core with the thread sanitizer and run its tests
	cmake --preset tsan > /dev/null
	cmake --build --preset tsan --target $(THREAD_TESTS)
	ctest --preset tsan -j 2

bench: configure  ## attention on packed codes against the memory's speed; BENCH_JSON=FILE writes the figures
	cmake --build --preset $(PRESET) --target attention_table
	$(BUILD)/bench/attention_table/attention_table $(if $(BENCH_JSON),--json $(BENCH_JSON)) $(BENCH_FLAGS)

micro-bench: configure  ## single kernels (Google Benchmark)
	cmake --build --preset $(PRESET) --target velox_bench
	$(BUILD)/bench/velox_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true

verify: configure  ## measure every stated figure and print a table
	cmake --build --preset $(PRESET)
	python3 tools/verify.py --build $(BUILD)

install: build  ## install to PREFIX (default: ./install)
	cmake --build --preset $(PRESET) && cmake --install $(BUILD) --prefix $(or $(PREFIX),install)

consume: install  ## build outside projects against the installed tree
	tests/consume/run.sh $(or $(PREFIX),install)

format: setup-develop  ## format the sources
	git ls-files '*.hpp' '*.cpp' | xargs clang-format-19 -i

check-format: setup-develop  ## is every source formatted?
	git ls-files '*.hpp' '*.cpp' | xargs clang-format-19 --dry-run -Werror

LINT ?= /(src|cli)/
lint: check-format  ## check formatting and run clang-tidy; LINT=REGEX: on these files only
	cmake --preset clang > /dev/null
	run-clang-tidy-19 -quiet -p build/clang '$(LINT).*\.cpp$$'

docs: setup-develop  ## API reference in build/docs/html
	@mkdir -p build/docs && doxygen docs/Doxyfile

clean:  ## remove what was built
	rm -rf build install
