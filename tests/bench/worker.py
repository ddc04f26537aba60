"""The process that a measurement runs in: bound to its CPUs before any library starts its threads."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module


def main(function: str, arguments: str) -> None:
    """Call ``module:function`` of tests.bench with JSON arguments and print its JSON result as the last line."""
    os.sched_setaffinity(0, {int(c) for c in os.environ["OFI_BENCH_CPUS"].split(",")})
    # What a library prints on its way (hftbacktest does) must not mix with the result.
    out = os.dup(1)
    os.dup2(2 if os.environ.get("OFI_BENCH_LOUD") else os.open(os.devnull, os.O_WRONLY), 1)
    module, _, name = function.partition(":")
    result = getattr(import_module(f"tests.bench.{module}"), name)(*json.loads(arguments))
    sys.stdout.flush()
    os.write(out, (json.dumps(result) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
