# Two doors and some windows; CMake with presets is the build, scripts/ does the work.
.PHONY: help demo check soak bench format clean

help:
	@echo "make demo    build the tool and show the main job (installs what is missing)"
	@echo "make check   every test, in CI's order (installs what is missing)"
	@echo "make soak    the long runs: big-endian, long fuzzing, long stress"
	@echo "make bench   the benchmarks and their report"
	@echo "make format  format the sources"
	@echo "make clean   remove build/"

demo:
	@scripts/bootstrap.sh demo
	@scripts/demo.sh

check:
	@scripts/bootstrap.sh check
	@scripts/check.sh

soak:
	@scripts/bootstrap.sh soak
	@scripts/soak.sh

bench:
	@scripts/bootstrap.sh bench
	@scripts/bench.sh

format:
	@scripts/bootstrap.sh format
	@scripts/format.sh

clean:
	rm -rf build
