"""One short simulated run, from the command line to a released bundle, shared by the tests that look at its parts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def simulated_run(tmp_path_factory) -> Run:
    """Three simulated hours, one fold."""
    return shadow(tmp_path_factory.mktemp("simulated"), "--hours", "3", "--folds", "1", "--fee-tier", "vip9")
