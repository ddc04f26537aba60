"""The base extra alone, in a venv of its own: numpy, numba, onnxruntime and pyarrow load a bundle and decide."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.flows.conftest import ROOT

pytestmark = pytest.mark.long

DECIDE = """
import sys
import numpy as np
from runtime import Candidate, MetaFilter, Reason
from runtime.candidate import Entry, SigType, Tier
from feature_repo import FeatureWindow
from feature_repo.instruments import INSTRUMENTS, SIMULATED_SYMBOL

window = FeatureWindow(T=64, instrument=INSTRUMENTS["simulated", SIMULATED_SYMBOL])
gate = MetaFilter.load(sys.argv[1], source=window)
candidate = Candidate(
    10**18, SIMULATED_SYMBOL, 1, SigType.MOMENTUM, Tier.A, 3500.0, 20.0, 18.0, 0.5, Entry.IOC, 10**18 + 10**9
)
allow, p, size = gate.allow(candidate, 10**18 + 2_000_000)
assert (allow, size) == (False, 0.0)
assert gate.allow(candidate, 10**18 + 2_000_000).reason is Reason.NO_WINDOW
x = np.zeros((1, 64, 24), np.float32)
p = gate._bundle.predict(x, np.zeros((1, 8), np.float32))
assert 0 <= float(p[0]) <= 1
loaded = {"torch", "pandas", "prefect", "sklearn", "feast", "hftbacktest", "duckdb"} & set(sys.modules)
assert not loaded, loaded
print("decided with the base install")
"""


def test_a_bundle_loads_with_the_base_install(simulated_run, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
    python = venv / "bin" / "python"
    # A constraint, not a requirement: of the lock only what the base extra asks for is installed.
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "requirements.lock"),
        str(ROOT),
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run([str(python), "-m", "pip", "list"], capture_output=True, text=True, timeout=60, check=True)
    assert "torch" not in listed.stdout
    assert "pandas" not in listed.stdout
    environment = {"PATH": "/usr/bin:/bin", "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    ran = subprocess.run(
        [str(python), "-c", DECIDE, str(simulated_run.bundle)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "decided with the base install" in ran.stdout
