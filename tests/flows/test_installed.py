"""What an installed copy says that lies in no checkout, or lacks a library."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from flows import command
from tests.flows.conftest import ROOT


def git(folder, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_a_run_is_of_the_commit_of_its_own_checkout(tmp_path):
    from flows.reporting import _code  # late: it brings torch

    if (ROOT / ".git").exists():
        assert _code() == git(ROOT, "rev-parse", "HEAD")
    assert _code(tmp_path) == version("ofi-meta")


@pytest.mark.slow
def test_the_repository_around_a_venv_is_not_the_projects(tmp_path):
    from flows.reporting import _code  # late: it brings torch

    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    site = tmp_path / ".venv" / "site-packages"
    site.mkdir(parents=True)
    assert _code(site) == version("ofi-meta")
    assert _code(tmp_path) == git(tmp_path, "rev-parse", "HEAD")


def test_a_missing_library_is_one_sentence(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "flows.cli", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 2
    assert "this command needs typer" in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_no_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "flows.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"flows\.cli"):
        command.main()


def test_an_error_that_names_no_module_is_no_missing_library(monkeypatch):
    def refused() -> None:
        raise ModuleNotFoundError("no codec for this font")

    monkeypatch.setattr("flows.cli.main", refused)
    with pytest.raises(ModuleNotFoundError, match="no codec for this font"):
        command.main()
