"""Every command of the documents is run: here, one after the other in a reader's own folder, or by a named test."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys

import pytest

from tests.flows.conftest import RECORDINGS, ROOT
from tests.flows.documents import Command, command_of
from tests.flows.reader import ELSEWHERE, READER
from tests.flows.test_documents import PAGES, check
from tests.runtime.release_folders import candidates


def key(command: Command) -> str:
    return " ".join((*command.variables, *command.words))


def recipes(line: str) -> list[str]:
    """The commands behind a line: those of make are its recipe's."""
    if not line.startswith("make "):
        return [line]
    dry = ["make", "--no-print-directory", "-n", *shlex.split(line)[1:]]
    said = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout.replace("\\\n", " ")
    return [re.sub(r".*\.venv/bin/", "", one) for one in said.splitlines() if ".venv/bin/ofi-meta" in one]


def test_each_command_of_the_documents_is_run_somewhere():
    told = {key(command) for page in PAGES for command in page.commands()}
    here = {line for one in READER if one.told is not None for line in one.told or (one.typed,)}
    elsewhere = [line for lines in ELSEWHERE.values() for line in lines]
    assert len(elsewhere) == len(set(elsewhere))
    assert not here & set(elsewhere)
    assert here | set(elsewhere) == told


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_tests_that_are_named_are_there(name):
    file, _, test = name.partition("::")
    text = (ROOT / file).read_text()
    if test:
        assert test in {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    else:
        assert set(ELSEWHERE[name]) - {"make setup"} <= set(text.splitlines())


def test_what_make_hands_on_is_accepted():
    lines = {key(c) for page in PAGES for c in page.commands() if c.words[0] == "make" and not c.variables}
    handed = [recipe for line in sorted(lines) for recipe in recipes(line)]
    assert len(handed) > 8
    for recipe in handed:
        check(command_of(recipe))


def test_the_fast_subset_is_a_part_of_the_suite():
    def expression(target):
        said = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return re.findall(r'-m "([^"]*)"', said)

    assert expression("test") == ["not long"]
    assert expression("test-fast") == ["not long and not slow"]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A reader's own folder: a real recording of minutes, and one of three SIMULATED hours that can be trained on."""
    from feature_repo.market.hft_files import write_hft
    from feature_repo.market.simulator import Simulation
    from feature_repo.market.tape import open_tape, write_stream

    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}")
    tape = open_tape(write_stream(Simulation(hours=3.0), tmp_path / "aside"))
    (part,) = write_hft(tape, tmp_path / "aside").paths
    desk = tmp_path / "desk"
    desk.mkdir()
    part.rename(desk / "recording.npz")
    candidates(desk / "releases")  # what a shadow run leaves
    (desk / "raw").symlink_to(RECORDINGS / "binance_usdm_ethusdt")
    monkeypatch.chdir(desk)
    monkeypatch.setenv("OFI_META_DATA", "data")
    monkeypatch.setenv("COLUMNS", "200")
    return desk


def type_in(line: str, monkeypatch, capsys) -> tuple[int, str]:
    """Exit code and output of a command; ours in this process, which has the libraries already."""
    if not recipes(line):
        done = subprocess.run(shlex.split(line), cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    from flows.cli import main

    (recipe,) = recipes(line)
    monkeypatch.setattr(sys, "argv", shlex.split(recipe))
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.long
def test_a_reader_types_them_one_after_the_other(desk, prefect, monkeypatch, capsys):
    logged = ""
    for one in READER:
        line = one.typed.replace("$OFI_META_DATA", "data").replace("DECISION", logged)
        code, said = type_in(line, monkeypatch, capsys)
        flat = " ".join(said.split())
        assert code == one.code, f"{line}\n{said}"
        assert one.said in flat, f"{line}\n{said}"
        assert "Traceback" not in said, f"{line}\n{said}"
        assert not one.leaves or (desk / one.leaves).exists(), line
        if found := re.search(r"ofi-meta explain (\S+) --log", flat):
            logged = found[1]
