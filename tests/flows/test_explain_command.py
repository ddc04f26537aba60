"""``ofi-meta explain``: a logged decision in the terminal."""

from __future__ import annotations

import os

import pytest

from feature_repo.market.simulator import simulate_tape
from feature_repo.market.tape import write_stream
from runtime import MetaFilter
from runtime.bundle import load_bundle
from runtime.decision_log import LoggedGate, SeenWindow
from tests.flows.conftest import ofi_meta
from tests.runtime.gate_builders import TS, bundle_folder, candidate, market_row, window

pytestmark = pytest.mark.slow


class Held:
    def snapshot_at(self, t_ns):
        return window(), market_row()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("explain")
    release = bundle_folder(root / "releases")
    seen = SeenWindow(Held())
    with LoggedGate(MetaFilter(load_bundle(release), source=seen), seen, root / "decisions") as gate:
        gate.allow(candidate(side=-1, est_slip_bps=9.0), TS)
        gate.allow(candidate(), TS)
    return root


def test_an_allowed_decision(folder):
    done = ofi_meta("explain", "last", environment=dict(os.environ), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "allowed, " in done.stdout
    assert "P 0.880797" in done.stdout
    assert "replay: the same answer, bit for bit" in done.stdout
    assert "not asked" not in done.stdout


def test_a_denied_one_says_where_it_stopped(folder):
    done = ofi_meta("explain", f"{candidate().symbol}-{TS}-sell-B", environment=dict(os.environ), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "denied: slippage" in done.stdout
    (line,) = (row for row in done.stdout.splitlines() if "denies" in row)
    assert "slippage" in line
    assert "9 bps" in line
    assert "<= 8 bps" in line


def test_another_model_under_that_name_is_refused(folder):
    bundle_folder(folder / "releases", bias=1.0)
    done = ofi_meta("explain", "last", environment=dict(os.environ), cwd=folder)
    assert done.returncode == 2
    assert "holds another model" in done.stderr
    bundle_folder(folder / "releases")


def test_a_log_that_cannot_be_written_is_told(folder, tmp_path):
    tape = write_stream(simulate_tape(seed=5, hours=0.1), tmp_path)
    (tmp_path / "taken").write_text("no folder")
    asked = ("infer", str(tape), "--bundle", str(folder / "releases" / "tiny"), "--log", "taken")
    done = ofi_meta(*asked, environment=dict(os.environ), cwd=tmp_path)
    assert done.returncode == 2
    assert "error: decisions that cannot be written to taken (" in done.stderr
    assert "Expected a folder with room in it. Free some space, or give another --log." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing-at-all",), "none of 1 files"),
        (("last", "--log", "elsewhere"), "no decisions in elsewhere"),
        (("last", "--releases", "elsewhere"), "no bundle at"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(folder, arguments, says):
    done = ofi_meta("explain", *arguments, environment=dict(os.environ), cwd=folder)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
