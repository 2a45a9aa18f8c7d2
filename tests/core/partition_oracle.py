"""Compares rebalance() with an independent sketch of it:  partition_oracle.py DUMP_PROGRAM SKETCH

The sketch chooses other places for the runs, so what is compared is what must be equal: each owner's points, and the
points moved. Exits 77 without the sketch.
"""
import importlib.util
import pathlib
import subprocess
import sys


def book(text):
    return {int(o): int(n) for o, n in (item.split("=") for item in text.strip(",").split(",") if item)}


def main():
    program, sketch = sys.argv[1:3]
    if not pathlib.Path(sketch).exists():
        print(f"SKIPPED: no sketch at {sketch}")
        return 77
    spec = importlib.util.spec_from_file_location("sketch", sketch)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    checked = 0
    runs = ppm = None
    for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines():
        if line == "new":
            runs, ppm = [(0, oracle.TOTAL, 0)], {0: 1_000_000}
            continue
        want_ppm, want_points, moved = line.split("|")
        want_ppm, want_points = book(want_ppm), book(want_points)
        have = oracle.points(runs)
        points = oracle.weights_to_points(want_ppm, ppm, have)
        assert points == want_points, f"{line}: the sketch has {points}"
        after = oracle.rebalance(runs, points)
        assert oracle.moved(runs, after) == int(moved), f"{line}: the sketch moved {oracle.moved(runs, after)}"
        runs, ppm = after, want_ppm
        checked += 1
    print(f"{checked} changes agree with the sketch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
