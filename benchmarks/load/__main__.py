"""Read plans from standard input, one JSON object a line; answer each with a report on one line."""

import gc
import sys

import msgspec
import uvloop

from benchmarks.load.generator import run
from benchmarks.load.plan import Plan


def main() -> None:
    """Serve plans until the input ends."""
    gc.disable()
    for line in sys.stdin:
        report = uvloop.run(run(msgspec.json.decode(line, type=Plan)))
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
