"""The hooks before a commit: they check what `make lint` checks, download nothing, and refuse outputs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.flows.conftest import ROOT

CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
HOOKS = {hook["id"]: hook for repo in CONFIG["repos"] for hook in repo["hooks"]}
BIN = Path(sys.executable).parent


def run(entry: str, *files: str) -> subprocess.CompletedProcess[str]:
    """A hook as it runs before a commit, with the tools of this Python."""
    first, *rest = entry.replace(".venv/bin", str(BIN)).split()
    return subprocess.run([first, *rest, *files], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_every_hook_is_local_and_downloads_nothing():
    assert [repo["repo"] for repo in CONFIG["repos"]] == ["local"]
    for name, hook in HOOKS.items():
        assert hook["language"] == "system", name
        assert hook["entry"].split()[0].startswith((".venv/bin/", ".ci/")), name
        assert "additional_dependencies" not in hook, name


def test_the_hooks_are_those_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    linted = {line.strip("@\t").replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.splitlines()}
    hooked = {hook["entry"].replace(" --force-exclude", "") for hook in HOOKS.values()}
    assert hooked == linted | {".ci/refuse"}


@pytest.mark.parametrize("name", ["ruff-check", "ruff-format", "refuse"])
def test_a_hook_passes_a_good_file(name):
    done = run(HOOKS[name]["entry"], "tests/flows/test_commit_hooks.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["ruff-check", "ruff-format"])
def test_a_hook_refuses_a_bad_file(name, tmp_path):
    (tmp_path / "bad.py").write_text("import os\nx = {'a':1}\n")
    assert run(HOOKS[name]["entry"], "--no-cache", str(tmp_path / "bad.py")).returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["import-linter", "mypy"])
def test_a_hook_that_looks_at_everything_passes(name):
    done = run(HOOKS[name]["entry"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["a.parquet", "a.onnx", "a.pt", "a.npz", "online.db", "last.ckpt", "with space.npz"])
def test_outputs_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    done = run(HOOKS["refuse"]["entry"], "README.md", str(tmp_path / name))
    assert done.returncode == 1
    assert name in done.stderr
    assert "README.md" not in done.stderr


def test_a_file_over_a_megabyte_is_refused(tmp_path):
    path = tmp_path / "page.md"
    path.write_bytes(b"x" * 2**20)
    assert run(HOOKS["refuse"]["entry"], str(path)).returncode == 0
    path.write_bytes(b"x" * (2**20 + 1))
    done = run(HOOKS["refuse"]["entry"], str(path))
    assert done.returncode == 1
    assert f"{path}: too large" in done.stderr


def test_nothing_that_is_committed_would_be_refused():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    if not files:
        pytest.skip("no git checkout")
    done = run(HOOKS["refuse"]["entry"], *files)
    assert done.returncode == 0, done.stderr
