"""The gate's process starts with the base install: none of the trainer's libraries is there, nor asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .gate_builders import bundle_folder

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ("torch", "lightning", "pandas", "prefect", "feast", "hftbacktest", "sklearn", "matplotlib", "duckdb", "onnx")
GUARD = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Refuse())
"""
USE = f"""
import runtime
print(runtime.MetaFilter, runtime.Candidate, runtime.Decision, runtime.Reason)
import runtime.signals, runtime.candidate_io, runtime.context, runtime.guards
gate = runtime.MetaFilter.load(sys.argv[1])
print(gate.allow(None, 0).reason)
loaded = sorted(set(sys.modules) & set({BLOCKED!r}))
assert not loaded, loaded
"""


def run(code: str, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_gate_loads_and_denies_without_them(tmp_path):
    done = run(GUARD + USE, str(bundle_folder(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Reason.BAD_CANDIDATE"


@pytest.mark.parametrize("name", BLOCKED[:2])
def test_the_block_blocks(name):
    assert "blocked: " + name in run(GUARD + f"import {name}").stderr


def test_importing_runtime_loads_next_to_nothing():
    done = run("import sys, runtime; print('onnxruntime' in sys.modules, 'numba' in sys.modules)")
    assert done.stdout.split() == ["False", "False"]
