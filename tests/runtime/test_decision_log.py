"""What a gate was asked and answered is kept whole, and can be explained and made again bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from feature_repo.errors import InputError
from runtime import MetaFilter, Reason
from runtime.bundle import load_bundle
from runtime.decision_log import LoggedGate, SeenWindow, decision_id, find_decision, window_hash
from runtime.explain import explain
from runtime.guards import GUARDS, VERDICT
from runtime.payoff import Payoff
from runtime.serving import ServedFilter

from .gate_builders import TS, bundle_folder, candidate, market_row, serve, window
from .test_gate import DENIALS


class Held:
    def __init__(self):
        self.found = (window(), market_row())

    def snapshot_at(self, t_ns):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def releases(tmp_path):
    bundle_folder(tmp_path, tag="one")
    return tmp_path


@pytest.fixture
def held():
    return Held()


def logged(releases, held, **options):
    seen = SeenWindow(held)
    return LoggedGate(MetaFilter.load(releases / "one", source=seen, **options), seen, releases / "log")


def random_window(seed):
    x = (3 * np.random.default_rng(seed).standard_normal(window().shape)).astype(np.float32)
    return x, market_row()


def test_every_answer_comes_back_and_is_made_again(releases, held):
    bundle_folder(releases, tag="one", bias=0.6, ofi=1.0)
    told = {}
    with logged(releases, held) as gate:
        for n in range(40):
            held.found = random_window(n)
            asked = candidate(side=1 if n % 2 else -1, est_slip_bps=0.1 * (n % 30))
            asked = replace(asked, ts_ns=TS + n * 10**9, expiry_ns=TS + (n + 1) * 10**9)
            held.found[1]["t_ns"] = asked.ts_ns
            told[decision_id(asked, "B")] = (asked, gate.allow(asked, asked.ts_ns), held.found[0])
    assert {d.allow for _, d, _ in told.values()} == {True, False}
    for id_, (asked, decision, x) in told.items():
        row = find_decision(releases / "log", id_)
        assert (row.candidate, row.profile, row.release) == (asked, "B", "one")
        # NaN included.
        assert np.array_equal(
            np.array([row.decision.p, row.decision.size, row.decision.p_breakeven]).view(np.int64),
            np.array([decision.p, decision.size, decision.p_breakeven]).view(np.int64),
        )
        np.testing.assert_array_equal(row.x, x)
        found = explain(row, releases)
        assert found.same is True
        assert found.window == window_hash(x, row.market)


@pytest.mark.parametrize(
    ("reason", "of_candidate", "of_row", "now_ns"), [d for d in DENIALS if d[0] is not Reason.BAD_CANDIDATE]
)
def test_the_check_that_denied_is_the_first_that_did_not_pass(releases, held, reason, of_candidate, of_row, now_ns):
    held.found = (window(), market_row(**of_row))
    with logged(releases, held) as gate:
        gate.allow(candidate(**of_candidate), now_ns)
    found = explain(find_decision(releases / "log", "last"), releases)
    assert found.same is True
    assert [r.reason for r in found.rows if r.passed is False] == [reason]
    at = [r.reason for r in found.rows].index(reason)
    assert all(r.passed for r in found.rows[:at])
    assert all(r.passed is None for r in found.rows[at + 1 :])
    assert found.rows[at].value
    assert found.rows[at].wanted


def test_an_allowed_one_passed_every_check_in_the_documented_order(releases, held):
    with logged(releases, held) as gate:
        assert gate.allow(candidate(), TS).allow
    found = explain(find_decision(releases / "log", "last"), releases)
    assert [r.reason for r in found.rows] == [Reason.KILL_SWITCH, *(r for r, _ in GUARDS), *(r for r, _ in VERDICT)]
    assert all(r.passed for r in found.rows)
    (p_row,) = (r for r in found.rows if r.reason is Reason.P_BELOW_TAU)
    assert (p_row.value, p_row.wanted) == ("P 0.8808", "> 0.65")


def test_the_floor_of_a_bundle_that_knows_its_payoffs_is_shown(releases, held):
    bundle = load_bundle(releases / "one")
    fitted = replace(
        bundle, manifest=replace(bundle.manifest, taus={"A": 0.5, "B": 0.4, "C": 0.3}, payoff=Payoff(0.9, -0.5))
    )
    seen = SeenWindow(held)
    with LoggedGate(MetaFilter(fitted, source=seen, breakeven_guard=True), seen, releases / "log") as gate:
        d = gate.allow(candidate(), TS)
    row = find_decision(releases / "log", "last")
    assert row.breakeven_guard
    assert row.decision.p_breakeven == d.p_breakeven == Payoff(0.9, -0.5).p_breakeven(candidate().R_bps, 10.525)


@pytest.mark.parametrize("stop", ["kill", "store"])
def test_what_lay_outside_is_told_and_not_replayed(releases, held, stop):
    with logged(releases, held) as gate:
        if stop == "kill":
            (releases / "KILL").touch()
        else:
            held.found = OSError("gone")
        d = gate.allow(candidate(), TS)
    found = explain(find_decision(releases / "log", "last"), releases)
    assert found.same is None
    assert [r.reason for r in found.rows if r.passed is False] == [d.reason]
    assert d.reason is {"kill": Reason.KILL_SWITCH, "store": Reason.STORE_ERROR}[stop]


@pytest.mark.parametrize(
    "other", [{"p": 0.9}, {"size": 2_304.0}, {"p_breakeven": math.nan}, {"allow": False}, {"reason": Reason.EV}]
)
def test_an_answer_that_is_not_made_again_is_told(releases, held, other):
    with logged(releases, held) as gate:
        assert gate.allow(candidate(), TS).allow
    row = find_decision(releases / "log", "last")
    assert explain(row, releases).same is True
    assert explain(replace(row, decision=replace(row.decision, **other)), releases).same is False
    assert explain(replace(row, now_ns=TS - 1), releases).same is False


def test_another_model_under_the_old_name_is_not_asked(releases, held):
    with logged(releases, held) as gate:
        gate.allow(candidate(), TS)
    row = find_decision(releases / "log", "last")
    bundle_folder(releases, tag="one", bias=0.5)
    with pytest.raises(InputError, match="holds another model"):
        explain(row, releases)


def test_each_decision_names_the_release_that_made_it(releases, held):
    bundle_folder(releases, tag="two", bias=3.0)
    serve(releases, "one")
    seen = SeenWindow(held)
    served = ServedFilter(releases / "current", source=seen)
    with LoggedGate(served, seen, releases / "log") as gate:
        gate.allow(candidate(), TS)
        serve(releases, "two")
        served.refresh()
        gate.allow(candidate(side=-1), TS)
    names = [find_decision(releases / "log", decision_id(candidate(side=s), "B")).release for s in (1, -1)]
    assert names == ["one", "two"]


def test_a_damaged_question_is_answered_and_has_no_row(releases, held):
    with logged(releases, held) as gate:
        assert gate.allow(None, TS).reason is Reason.BAD_CANDIDATE
        assert gate.allow(candidate(side=7), TS).reason is Reason.BAD_CANDIDATE
        gate.allow(candidate(), TS)
    assert find_decision(releases / "log", "last").candidate == candidate()


@pytest.mark.parametrize(
    "strange",
    [
        {"ts_ns": 2**63}, {"expiry_ns": 2**63}, {"symbol": "ETH\ud800"}, {"price": 10**400}, {"est_slip_bps": 10**400},
        {"R_bps": -(10**400)},
    ],
)  # fmt: skip
def test_what_no_column_can_hold_keeps_no_other_row_from_the_disk(releases, held, strange):
    with logged(releases, held) as gate:
        gate.allow(candidate(**strange), TS)
        gate.allow(candidate(), 2**63)
        assert gate.last_error
        gate.allow(candidate(), TS)
        gate.flush()
        assert (gate.last_error, gate.lost) == (None, 2)
        gate.allow(candidate(side=-1), TS)
    for side in (1, -1):
        assert find_decision(releases / "log", decision_id(candidate(side=side), "B")).decision.allow


def test_a_disk_that_takes_nothing_changes_no_answer(releases, held, monkeypatch):
    gate = logged(releases, held)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gate, "_write", full)
    for _ in range(600):
        assert gate.allow(candidate(), TS).allow
    assert "No space left" in gate.last_error
    monkeypatch.undo()
    gate.close()
    assert gate.last_error is None
    assert gate.lost == 0
    assert find_decision(releases / "log", "last").decision.allow


@pytest.mark.parametrize("fault", [OSError("full"), ValueError("no such type")])
def test_what_can_never_be_written_does_not_fill_the_memory(releases, held, monkeypatch, fault):
    gate = logged(releases, held)
    monkeypatch.setattr("runtime.decision_log._KEPT", 300)
    monkeypatch.setattr(gate, "_write", lambda _: (_ for _ in ()).throw(fault))
    for _ in range(1_000):
        gate.allow(candidate(), TS)
    assert len(gate._waiting) <= 300 + 1
    assert gate.lost == 1_000 - len(gate._waiting)


def test_a_second_run_of_the_same_moment_keeps_the_first(releases, held):
    for profile in ("A", "B", "A"):
        with logged(releases, held, profile=profile) as gate:
            gate.allow(candidate(), TS)
    assert len(list((releases / "log").glob("*/*.parquet"))) == 3
    assert {find_decision(releases / "log", decision_id(candidate(), p)).profile for p in "AB"} == {"A", "B"}
    assert find_decision(releases / "log", "last").profile == "A"


def test_faults_are_told(releases, held):
    with pytest.raises(InputError, match="no decisions in"):
        find_decision(releases / "log", "last")
    with logged(releases, held) as gate:
        gate.allow(candidate(), TS)
    with pytest.raises(InputError, match="none of 1 files"):
        find_decision(releases / "log", "ETH-1-buy-B")
    (file,) = (releases / "log").glob("*/*.parquet")
    whole = pq.read_table(file)
    for other, says in (
        (whole.replace_schema_metadata({b"ofi_meta.catalogue": b"0" * 64}), r"another field catalogue \(0{12}\)"),
        (whole.replace_schema_metadata(None), r"another field catalogue \(none\)"),
        (whole.drop_columns(["now_ns", "x"]), "no column now_ns, x"),
    ):
        pq.write_table(other, file)
        with pytest.raises(InputError, match=f"{says}.*Explain it with the version that decided"):
            find_decision(releases / "log", "last")
    file.write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match="not readable as decisions"):
        find_decision(releases / "log", "last")


@pytest.mark.parametrize(
    "found", [(window()[1:], market_row()), (window(), None), (window().astype(np.float64), market_row()), 7]
)
def test_an_answer_that_is_no_window_is_denied_and_logged_without_one(releases, held, found):
    held.found = found
    with logged(releases, held) as gate:
        decision = gate.allow(candidate(), TS)
    assert not decision.allow
    row = find_decision(releases / "log", "last")
    assert (row.decision.reason, row.x, row.market) == (decision.reason, None, None)


def test_ids():
    assert decision_id(candidate(), "A") == f"{candidate().symbol}-{TS}-buy-A"
    assert window_hash(None, None) == ""
    x, market = random_window(1)
    assert len(window_hash(x, market)) == 32
    assert window_hash(x, market) != window_hash(x + np.float32(1e-7), market)
    assert not math.isnan(float(x[0, 0]))


def test_a_record_that_fails_and_cannot_say_why_leaves_the_answer(releases, held, monkeypatch):
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

        __notes__ = property(__str__)

    def fails(*_):
        raise Unspeakable

    with logged(releases, held) as gate:
        monkeypatch.setattr("runtime.decision_log._row", fails)
        assert gate.allow(candidate(), TS) is not None
        assert gate.lost == 1
        assert "Unspeakable" in gate.last_error
