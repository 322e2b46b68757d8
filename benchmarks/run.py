"""
Runs every benchmark and prints the table: `python benchmarks/run.py [--json]`.

Figures are medians of one run on this machine; the ratio to the floor, which was measured in
turn with the figure, is what can be compared between machines.
"""

import argparse
import json
import os
import platform
import sys

import bench_cpu
import bench_images
import bench_network
import bench_policy
import bench_process
import bench_sessions
import bench_start
import bench_tools

MODULES = (
    bench_sessions,
    bench_images,
    bench_process,
    bench_network,
    bench_policy,
    bench_start,
    bench_tools,
    bench_cpu,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for module in MODULES:
        print(f"{module.__name__} ...", file=sys.stderr, flush=True)
        rows.extend(module.rows())
    if args.json:
        print(json.dumps([row.data() for row in rows]))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.release()}\n")
    print("| what | measured | aim | floor | ratio to floor |\n| --- | ---: | ---: | --- | ---: |")
    for row in rows:
        floor = f"{row.floor_is} {row.floor:.3g} {row.unit}" if row.floor else ""
        ratio = f"{row.ratio:.1f}" if row.ratio else ""
        print(f"| {row.what} | {row.value:.3g} {row.unit} | {row.aim:g} | {floor} | {ratio} |")


if __name__ == "__main__":
    main()
