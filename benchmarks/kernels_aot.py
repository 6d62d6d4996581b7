"""Compile every Triton kernel ahead of time and tabulate what its machine code says.

    python benchmarks/kernels_aot.py -o benchmarks/results/kernels_aot.json

No GPU is needed. Registers bound how many warps a multiprocessor holds at once; a spill is a trip
to memory that nobody asked for; at a barrier all warps of a program wait. None of it is a time.
"""

import argparse
import json
from pathlib import Path

from clr_infer.kernels.aot import registry, report_all

from clr_infer.bench.facts import commit
from clr_infer.env import describe_environment


def main() -> None:
    """Write the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    launches = registry()
    reports = report_all(launches)
    result = {
        "kind": "kernels_aot",
        "commit": commit(),
        "environment": describe_environment(),
        "kernels": [
            {
                "name": name,
                "function": launch.kernel.__name__,
                "types": launch.types,
                "constants": launch.constants,
                "options": launch.options,
                "archs": reports[name],
            }
            for name, launch in launches.items()
        ],
    }
    text = json.dumps(result, indent=1) + "\n"
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
