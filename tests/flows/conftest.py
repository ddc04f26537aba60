"""One short simulated run, from the command line to a released bundle, shared by the tests that look at its parts."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.environment import configure

# Prefect reads its settings when it is first imported: before any test of this process does so.
_PREFECT_HOME = tempfile.TemporaryDirectory(prefix="ofi-meta-prefect-", ignore_cleanup_errors=True)
os.environ["PREFECT_HOME"] = _PREFECT_HOME.name
configure()
# `make` exports them, empty or not; a test that wants a cluster names its own.
for name in ("RUNNER", "SCHEDULER"):
    os.environ.pop(name, None)

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Run:
    """Where a run left its outputs, and what it printed."""

    data: Path
    out: Path
    releases: Path
    models: Path
    said: str

    @property
    def bundle(self) -> Path:
        (found,) = [p for p in self.releases.iterdir() if p.is_dir() and not p.is_symlink()]
        return found

    def environment(self) -> dict[str, str]:
        return {**os.environ, "OFI_META_DATA": str(self.data), "COLUMNS": "160"}


def ofi_meta(*arguments: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


def shadow(folder: Path, *arguments: str) -> Run:
    """`ofi-meta shadow` with every output below one folder."""
    run = Run(folder / "data", folder / "out", folder / "releases", folder / "models", "")
    done = ofi_meta(
        "shadow",
        *("--out", str(run.out), "--releases", str(run.releases), "--models", str(run.models)),
        *arguments,
        environment=run.environment(),
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(run.data, run.out, run.releases, run.models, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    """Prefect's own test harness: a server and a database that are gone afterwards."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="session")
def simulated_run(tmp_path_factory, worker_id) -> Run:
    """Three simulated hours, one fold; one run for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "simulated"
    folder.mkdir(exist_ok=True)
    said = folder / "said.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            run = shadow(folder, "--hours", "3", "--folds", "1", "--fee-tier", "vip9")
            # As it was made: a test in another process may push to the store while one here copies it.
            shutil.copytree(run.data / "feast", folder / "feast", ignore=shutil.ignore_patterns("online.db*"))
            said.write_text(run.said)
    return Run(folder / "data", folder / "out", folder / "releases", folder / "models", said.read_text())
