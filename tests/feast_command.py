"""The `feast` command with its own arguments, environment and output, several times at the price of loading it once."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

__all__ = ["start_feast"]

# Feast takes seconds to load: a process that has loaded it forks the ones that run it.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["feast.cli.cli"])


def start_feast(arguments: Sequence[str], environment: dict[str, str], folder: Path, log: Path) -> BaseProcess:
    """Start `feast <arguments>` in ``folder``; both of its outputs go to ``log``."""
    process = _context.Process(target=_run, args=(list(arguments), environment, str(folder), str(log)))
    process.start()
    return process


def _run(arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(out, stream)
    sys.argv = ["feast", *arguments]
    from feast.cli.cli import cli

    cli(arguments, prog_name="feast")
