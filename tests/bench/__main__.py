"""`python -m tests.bench`: measure, write reports/bench.json, render docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired

from rich.console import Console

from feature_repo.errors import InputError
from feature_repo.paths import atomic_path

from .harness import ROOT, Bench, load, merge, save
from .render import markdown, print_table

FILES = tuple(sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py")))


def main(arguments: list[str] | None = None) -> int:
    """Run the benches named; 0 when they ran, whether or not their goals are met, 1 when one of them broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=FILES, metavar="NAME", help=f"one of: {', '.join(FILES)}")
    parser.add_argument("--render", action="store_true", help="measure nothing; render the page from the last figures")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "bench.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks.md")
    args = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        # A part run again keeps the rest as it was measured.
        rows = load(args.out) if args.render or (args.only and args.out.exists()) else []
        fresh, broken = ([], False) if args.render else _run(args.only or FILES, console)
        rows = merge(rows, fresh)
        if fresh:
            save(rows, args.out)
    except InputError as error:
        console.print(f"[bold red]error:[/] {error}", soft_wrap=True, highlight=False)
        return 2
    with atomic_path(args.docs) as beside:
        beside.write_text(markdown(rows))
    out = Console()
    out.width = max(out.width, 150)
    print_table(rows, out)
    return int(broken)


def _run(names: Sequence[str], console: Console) -> tuple[list[Bench], bool]:
    """Rows of the benches that ran, and whether one broke: its process has said why."""
    rows: list[Bench] = []
    broken = False
    for n, name in enumerate(names, 1):
        began = time.perf_counter()
        try:
            with console.status(f"{n} of {len(names)}: {name}"):
                rows += import_module(f"tests.bench.bench_{name}").run()
            word = "[green]done[/]"
        except (CalledProcessError, TimeoutExpired):
            broken, word = True, "[bold red]broke[/]"
        took = time.perf_counter() - began
        console.print(f"{word} {n} of {len(names)}: {name:<12} {took:6.1f} s", highlight=False)
    return rows, broken


if __name__ == "__main__":
    sys.exit(main())
