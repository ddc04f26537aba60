"""`ofi-meta honesty`: many simulated runs, some at a time in processes of their own; then what they add up to."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from feature_repo.errors import InputError
from feature_repo.paths import data_root
from reports.honesty import summarise
from reports.honesty_faces import check_docs, print_honesty, write_honesty
from reports.honesty_record import HonestRun

from .honesty_plan import SPREAD, RunPlan, arguments_of, code_version, key_of, plan_runs
from .parameters import check_folders

__all__ = ["MODELS", "SHORT_CANDIDATES", "SHORT_SEEDS", "run"]

MODELS = ("tcn", "logistic")
SHORT_SEEDS, SHORT_CANDIDATES, SHORT_FOLDS, SHORT_MODELS, SHORT_SPREAD = 3, 800, 2, ("logistic",), 1
"""The short form shows that everything works; it has too few runs to judge a goal."""
_ROOT = Path(__file__).resolve().parents[1]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LAST_LINES = 6


def run(
    *,
    seeds: int = 20,
    candidates: int = 3_000,
    models: Sequence[str] = MODELS,
    folds: int = 3,
    workers: int = 2,
    short: bool = False,
    out: Path = Path("reports"),
    docs: Path | None = None,
) -> int:
    """Do the runs that have no result yet, print the table and write it.

    Results are kept below the data folder, in honesty/<key>: a second call goes on where the first was ended, and
    another code or another plan has another key.

    Parameters
    ----------
    seeds : of each edge, from ``FIRST_SEED`` on
    candidates, models, folds : of every run
    workers : runs at a time, one core each
    short : 3 seeds, the logistic model, fewer candidates, 2 folds, in place of those four; one process an edge, since
        most of so short a run is the start of a process; tapes no longer than their candidates need
    out : honesty.json and honesty.png go there, of the short form honesty-short.*
    docs : a page with the table between its marks, written anew

    Returns
    -------
    int
        0; 1 when some run failed: the table then holds the others and says so.

    Raises
    ------
    InputError
        A value that cannot be used, another call at work on the same runs, or no run that succeeded.
    """
    if short:
        seeds, candidates, models, folds = SHORT_SEEDS, SHORT_CANDIDATES, SHORT_MODELS, SHORT_FOLDS
    plans = plan_runs(seeds, candidates, models, folds, SHORT_SPREAD if short else SPREAD)
    if not 1 <= workers <= 64:
        raise InputError(f"{workers} workers", "1 to 64", "Give another number")
    check_folders(out)
    if docs is not None:
        check_docs(docs)
    code = code_version()
    folder = data_root() / "honesty" / key_of(plans[0], code)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    with _alone(folder):
        found = {plan.name: kept for plan in plans if (kept := _kept(folder, plan, console)) is not None}
        left = [plan for plan in plans if plan.name not in found]
        if found:
            console.print(
                f"{len(found)} of {len(plans)} runs are there already ({folder})", highlight=False, soft_wrap=True
            )
        chunks = [[p for p in left if p.edge == e] for e in (0.0, 1.0)] if short else [[p] for p in left]
        failed = _run_all([c for c in chunks if c], folder, code, workers, len(plans), console)
        found |= {plan.name: kept for plan in left if (kept := _kept(folder, plan, console)) is not None}
    if not found:
        raise InputError(f"all {len(plans)} runs failed", "at least one result", "See the lines above")
    summary = summarise(list(found.values()), planned=len(plans))
    summary |= {"code": code, "candidates": candidates, "folds": folds, "short": short, "failed": failed}
    write_honesty(summary, out, docs=docs)
    print_honesty(summary)
    return int(len(found) < len(plans))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else works on these runs meanwhile; what an ended call left behind is removed."""
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another call at work on the same runs ({folder})", "one at a time", "Wait for it, or end it"
            ) from None
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(folder / "scratch", ignore_errors=True)


def _kept(folder: Path, plan: RunPlan, console: Console) -> HonestRun | None:
    """The result of a run, None where there is none that can be used; a damaged one is said and removed."""
    path = folder / f"{plan.name}.json"
    if not path.exists():
        return None
    try:
        found = HonestRun.from_dict(json.loads(path.read_text(encoding="utf-8")))
        if (found.edge, found.seed, tuple(found.models)) != (plan.edge, plan.seed, plan.models):
            raise InputError("a result of another run", plan.name, "Delete it and run again")
    except (InputError, json.JSONDecodeError, UnicodeDecodeError) as error:
        got = error.got if isinstance(error, InputError) else f"a damaged result ({error})"
        console.print(f"[yellow]damaged[/] {path}: {got}; it is run again", highlight=False, soft_wrap=True)
        path.unlink()
        return None
    return found


@dataclass
class _Children:
    """Processes that are at work; once ended, none is started any more."""

    alive: set[subprocess.Popen] = field(default_factory=set)
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: list[str], environment: dict[str, str], log: Path) -> int:
        """Start one and wait for it; a negative code when it was ended."""
        with log.open("wb") as handle:
            with self.lock:
                if self.over:
                    return -signal.SIGTERM
                # A group of its own, so that Ctrl-C reaches it once and by way of `end`.
                child = subprocess.Popen(
                    command, env=environment, stdout=handle, stderr=subprocess.STDOUT, start_new_session=True
                )
                self.alive.add(child)
            code = child.wait()
        with self.lock:
            self.alive.discard(child)
        return code

    def end(self) -> None:
        """End all that are at work, with whatever they started themselves."""
        with self.lock:
            self.over = True
            for child in self.alive:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)  # a result is written whole or not at all


def _run_all(
    chunks: Sequence[Sequence[RunPlan]], folder: Path, code: str, workers: int, total: int, console: Console
) -> list[str]:
    """Run the chunks, ``workers`` at a time. Returns the names of the runs that failed; why has been said."""
    if not chunks:
        return []
    before = done = total - sum(map(len, chunks))
    children, failed, began = _Children(), [], time.monotonic()

    def left() -> str:
        if done == before:
            return "time left: known after the first run"
        minutes = (time.monotonic() - began) / (done - before) * (total - done) / 60
        return f"about {minutes:.0f} min left" if minutes >= 1 else "less than a minute left"

    with _bar(console) as bar, ThreadPoolExecutor(workers, thread_name_prefix="honesty") as pool:
        row = bar.add_task("honest runs", total=total, completed=done, left=left())
        jobs = {pool.submit(_one, chunk, folder, code, children): chunk for chunk in chunks}
        try:
            for job in as_completed(jobs):
                chunk, lines = jobs[job], job.result()
                done += len(chunk)
                bar.update(row, completed=done, left=left())
                missing = [plan.name for plan in chunk if not (folder / f"{plan.name}.json").exists()]
                made = [plan.name for plan in chunk if plan.name not in missing]
                if made and not console.is_terminal:
                    console.print(
                        f"done {', '.join(made)} ({done} of {total}, {left()})", highlight=False, soft_wrap=True
                    )
                if missing:
                    failed += missing
                    console.print(f"[bold red]failed[/] {', '.join(missing)} ({done} of {total}):", highlight=False)
                    for line in lines:
                        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        finally:
            children.end()
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _one(chunk: Sequence[RunPlan], folder: Path, code: str, children: _Children) -> list[str]:
    """Run a chunk; what it wrote goes to a log, which stays where it failed. Returns the log's last lines."""
    log = folder / f"{chunk[0].name}.log"
    command = [sys.executable, "-m", "flows.honesty_run", *arguments_of(chunk), "--out", str(folder)]
    command += ["--scratch", str(folder / "scratch"), "--code", code, "--parent", str(os.getpid())]
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = children.run(command, {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": path}, log)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    if ended == 0:
        log.unlink()
    return lines or [f"it ended with code {ended} and wrote nothing"]
