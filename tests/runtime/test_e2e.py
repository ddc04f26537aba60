"""End-to-end times: what is timed is the path that is judged, and each phase holds what belongs to it and no more."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from feature_repo.build import build_features
from feature_repo.constants import MODEL, MS_NS, ORDER, SECOND_NS, WINDOW_NS
from feature_repo.errors import InputError
from feature_repo.events import GAP
from feature_repo.instruments import FeeTier
from feature_repo.market.simulator import simulate_tape
from feature_repo.market.tape import Tape
from feature_repo.window import FeatureWindow
from runtime.bundle import load_bundle
from runtime.candidate import Entry, SigType
from runtime.decision import Decision, Reason
from runtime.e2e import E2E_DTYPE, time_decisions
from runtime.gate import GuardsOnly, MetaFilter
from runtime.signals import find_candidates

from ..feature_repo.streams import IMPATIENT, StreamTape, random_events
from ..feature_repo.three_tapes import tape as recorded
from .gate_builders import bundle_folder, candidate

pytestmark = pytest.mark.slow

PHASES = ("update_us", "snapshot_us", "decide_us")
HOLE_S = 5_000
FREE = FeeTier("free", 0.0, 0.0)
"""So that the EV gate lets candidates through to the model."""


class Recorded:
    """A gate whose answers are kept, and have to be the same each time."""

    def __init__(self, gate):
        self._gate, self.answers = gate, {}

    def decide(self, candidate, now_ns, x, market_row):
        answer = self._gate.decide(candidate, now_ns, x, market_row)
        assert _bits(self.answers.setdefault(repr(candidate), answer)) == _bits(answer)
        return answer


def _bits(d):
    """All of an answer but its latency; equal where NaN is too."""
    return d.allow, d.reason, *np.array([d.p, d.size, d.p_breakeven]).view(np.uint64).tolist()


@pytest.fixture(scope="module")
def whole():
    return simulate_tape(seed=5, hours=1.5)


@pytest.fixture(scope="module")
def holed(whole):
    """Nothing comes for ninety seconds: the first event afterwards closes 900 windows."""
    events = whole.events.copy()
    later = events["local_ts"] >= whole.span_ns[0] + HOLE_S * SECOND_NS
    for name in ("local_ts", "exch_ts"):
        events[name][later] += 90 * SECOND_NS
    return Tape(whole.venue, whole.symbol, events, whole.manifest)


@pytest.fixture(scope="module")
def table(whole):
    return build_features(whole)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """P falls as the flow rises, around tau: some pass, some do not."""
    return bundle_folder(tmp_path_factory.mktemp("releases"), bias=1.9, ofi=-0.4)


def _gates(folder, instrument):
    facts = {"symbol": instrument.symbol, "tick": instrument.tick, "lot": instrument.lot}
    gates = {(name, False): GuardsOnly(name, fee=FREE, **facts) for name in "ABC"}
    gates |= {(name, True): MetaFilter.load(folder, profile=name, fee=FREE) for name in "ABC"}
    return {key: Recorded(gate) for key, gate in gates.items()}


def _measure(tape, gates, candidates, **more):
    window = FeatureWindow(T=MODEL.T, instrument=tape.instrument)
    ts_ns = np.array([c.ts_ns for c in candidates], np.int64)
    return time_decisions(tape.chunks(5_000), window, gates, ts_ns=ts_ns, **{"idle_ms": 0.0} | more)


def _batch_answers(gates, table, candidates):
    """What the gates say of the windows of a feature table."""
    x, found = table.windows(np.array([c.ts_ns for c in candidates], np.int64), MODEL.T)
    at = np.searchsorted(table.t_ns, [c.ts_ns for c in candidates])
    return {
        key: {
            repr(c): gate.decide(
                c, c.ts_ns + ORDER.compute_ms * MS_NS, *((x[i], table.market[at[i]]) if found[i] else (None, None))
            )
            for i, c in enumerate(candidates)
        }
        for key, gate in gates.items()
    }


def _assert_the_judged_path(measured, gates, expected, candidates):
    for key, gate in gates.items():
        told = {c: _bits(d) for c, d in gate.answers.items()}
        assert list(told) == [repr(c) for c in candidates]
        assert told == {c: _bits(d) for c, d in expected[key].items()}
        rows = measured[key]
        assert rows.dtype == E2E_DTYPE
        assert rows["ts_ns"].tolist() == [c.ts_ns for c in candidates]
        assert rows["sig_type"].tolist() == [c.sig_type for c in candidates]
        assert rows["asked"].tolist() == [not np.isnan(d.p) for d in expected[key].values()]


# ---------------------------------------------------------------- the measured path is the judged path


@pytest.mark.parametrize("which", ["whole", "holed"])
def test_candidates_and_answers_are_those_of_the_batch_way(which, folder, request):
    tape = request.getfixturevalue(which)
    table = build_features(tape)
    candidates = find_candidates(table)[-120:]
    hole = table.t_ns[0] // SECOND_NS + HOLE_S
    assert candidates[0].ts_ns // SECOND_NS < hole < candidates[-1].ts_ns // SECOND_NS - 90
    gates = _gates(folder, tape.instrument)
    measured = _measure(tape, gates, find_candidates(table), last=120, watch_s=1_800.0)
    expected = _batch_answers(_gates(folder, tape.instrument), table, candidates)
    _assert_the_judged_path(measured, gates, expected, candidates)
    reasons = {d.reason for answers in expected.values() for d in answers.values()}
    assert {Reason.ALLOW, Reason.P_BELOW_TAU, Reason.TIER} <= reasons
    assert measured["C", True]["asked"].sum() > 20
    assert not measured["C", False]["asked"].any()


@pytest.mark.parametrize("name", ["ethusdt", "nexousdt"])
def test_on_a_recording_too(name):
    """In NEXOUSDT a window in six holds an event: most are closed in company."""
    events, instrument = recorded(name)
    events = events[events["local_ts"] < events["local_ts"][0] + 5_400 * SECOND_NS]
    tape = StreamTape(events, instrument, venue=instrument.venue, symbol=instrument.symbol)
    table = build_features(tape)
    candidates = find_candidates(table)
    assert len(candidates) >= 40

    def gates():
        facts = {"symbol": tape.symbol, "tick": instrument.tick, "lot": instrument.lot, "fee": FREE}
        return {(profile, False): Recorded(GuardsOnly(profile, **facts)) for profile in "AC"}

    asked = gates()
    measured = _measure(tape, asked, candidates)
    _assert_the_judged_path(measured, asked, _batch_answers(gates(), table, candidates), candidates)


def test_entries_of_the_users_own_stand_in_for_the_signals(holed, folder):
    table = build_features(holed)
    found = find_candidates(table)[-60:]
    t_ns = table.t_ns
    own = [found[0], found[30]]
    for i in (3, HOLE_S * 10 + 800):  # without a window yet, and in the hole
        own.append(candidate(ts_ns=int(t_ns[i]), expiry_ns=int(t_ns[i]) + SECOND_NS, sig_type=SigType.REVERSION))
    mids = table.market["mid"]
    for i in range(30_000, 40_000, 250):
        price, ts = float(mids[i]), int(t_ns[i])
        own.append(candidate(ts_ns=ts, expiry_ns=ts + SECOND_NS, price=price, side=-1, entry=Entry.MAKER))
    own.sort(key=lambda c: c.ts_ns)
    gates = _gates(folder, holed.instrument)
    off_grid = candidate(ts_ns=own[-1].ts_ns + 1)
    at = {c.ts_ns: c for c in [*own, off_grid]}
    measured = _measure(holed, gates, list(at.values()), candidates_at=at)
    expected = _batch_answers(_gates(folder, holed.instrument), table, own)
    _assert_the_judged_path(measured, gates, expected, own)
    assert sum(d.reason is Reason.NO_WINDOW for d in expected["C", True].values()) == 2
    assert measured["C", True]["asked"].sum() > 10


# ---------------------------------------------------------------- rows


def test_e2e_is_the_sum_of_its_phases_and_each_takes_time(whole, table, folder):
    measured = _measure(
        whole, _gates(folder, whole.instrument), find_candidates(table), last=40, watch_s=60.0, idle_ms=0.1
    )
    first = measured["A", False]
    for rows in measured.values():
        assert len(rows) == 40
        assert all((rows[name] > 0).all() for name in PHASES)
        np.testing.assert_array_equal(rows["e2e_us"], rows["update_us"] + rows["snapshot_us"] + rows["decide_us"])
        for shared in ("update_us", "snapshot_us"):
            np.testing.assert_array_equal(rows[shared], first[shared])


def test_without_candidates_there_are_empty_rows_and_the_tape_is_not_read(whole, folder):
    gates = _gates(folder, whole.instrument)
    for events in (iter(()), pytest.fail):
        window = FeatureWindow(T=MODEL.T, instrument=whole.instrument)
        measured = time_decisions(events, window, gates, ts_ns=np.zeros(0, np.int64))
        assert measured.keys() == gates.keys()
        assert all(len(rows) == 0 and rows.dtype == E2E_DTYPE for rows in measured.values())


def test_the_tape_is_read_in_chunks_and_no_further_than_the_last_candidate(whole, table, folder):
    taken, seen = [], []
    last = find_candidates(table)[199].ts_ns

    def chunks():
        for chunk in whole.chunks(2_000):
            taken.append(int(chunk["local_ts"][0]))
            yield chunk

    window = FeatureWindow(T=MODEL.T, instrument=whole.instrument)
    ts_ns = np.array([c.ts_ns for c in find_candidates(table)[:200]])
    more = {"last": 5, "watch_s": 60.0, "progress": seen.append, "end_ns": whole.span_ns[1]}
    rows = time_decisions(chunks(), window, _gates(folder, whole.instrument), ts_ns=ts_ns, **more)["A", True]
    assert rows["ts_ns"].tolist() == ts_ns[-5:].tolist()
    assert taken[-1] <= last
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_without_gates_nothing_is_measured(whole, table):
    assert _measure(whole, {}, find_candidates(table)[:3]) == {}


def test_a_book_that_breaks_just_before_gives_rows_without_a_window(whole, table, folder):
    """The candidates are the user's, so that they come although nothing is known."""
    at = int(table.t_ns[20_000])
    gap = np.zeros(1, whole.events.dtype)
    gap["ev"], gap["local_ts"], gap["exch_ts"] = GAP, at - MS_NS, at - 6 * MS_NS
    events = np.insert(whole.events, np.searchsorted(whole.events["local_ts"], at - MS_NS), gap)
    own = {at + k * WINDOW_NS: candidate(ts_ns=at + k * WINDOW_NS, expiry_ns=at + SECOND_NS) for k in (-1, 0)}
    gates = _gates(folder, whole.instrument)
    broken = Tape(whole.venue, whole.symbol, events, whole.manifest)
    measured = _measure(broken, gates, list(own.values()), candidates_at=own)
    answers = list(gates["C", True].answers.values())
    assert answers[0].reason is not Reason.NO_WINDOW
    assert answers[1].reason is Reason.NO_WINDOW
    assert measured["C", True]["ts_ns"].tolist() == [at - WINDOW_NS, at]
    assert (measured["C", True]["e2e_us"] > 0).all()


def test_a_model_that_fails_was_asked_and_denies(whole, table, folder):
    def predict(x, ctx):
        raise RuntimeError("the graph is broken")

    broken = SimpleNamespace(manifest=load_bundle(folder).manifest, predict=predict)
    gate = Recorded(MetaFilter(broken, profile="C", fee=FREE, shadow=True))
    rows = _measure(whole, {("C", True): gate}, find_candidates(table), last=50, watch_s=60.0)["C", True]
    failed = [d.reason is Reason.MODEL_ERROR for d in gate.answers.values()]
    assert rows["asked"].tolist() == failed
    assert sum(failed) > 5
    assert not any(d.allow for d in gate.answers.values())


def test_a_gate_that_raises_inside_denies_and_has_its_rows(whole, table, folder, monkeypatch):
    monkeypatch.setattr("runtime.gate.decide", lambda inputs: 1 / 0)
    gates = _gates(folder, whole.instrument)
    measured = _measure(whole, gates, find_candidates(table), last=10, watch_s=60.0)
    for key, rows in measured.items():
        assert len(rows) == 10
        assert not rows["asked"].any()
        assert {d.reason for d in gates[key].answers.values()} == {Reason.INTERNAL_ERROR}


@pytest.mark.parametrize("bad", [{"last": 0}, {"watch_s": -1.0}, {"watch_s": np.inf}, {"idle_ms": np.nan}])
def test_what_makes_no_sense_is_refused(whole, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        _measure(whole, {}, [], **bad)


# ---------------------------------------------------------------- what belongs to which phase


class Clock:
    """Stands in for ``time``: passes only while somebody works or sleeps."""

    def __init__(self):
        self.now_ns, self.slept = 0, []

    def perf_counter_ns(self):
        return self.now_ns

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_ns += 10**15


class Working(FeatureWindow):
    """Each of its calls takes a time of its own."""

    def __init__(self, clock, **more):
        super().__init__(**more)
        self._clock = clock

    def update(self, events):
        self._clock.now_ns += 10**12
        super().update(events)

    def advance_to(self, now_ns):
        self._clock.now_ns += 1_000
        super().advance_to(now_ns)

    def update_from_event(self, e):
        self._clock.now_ns += 200
        super().update_from_event(e)

    def snapshot(self):
        self._clock.now_ns += 7_000
        return super().snapshot()


class Entries(dict):
    """Signals at work."""

    clock: Clock

    def get(self, t_ns):
        self.clock.now_ns += 30
        return super().get(t_ns)


class Slow:
    """A gate whose first answer of each kind takes longer."""

    def __init__(self, clock, work_ns, order):
        self._clock, self._work_ns, self._order, self._known = clock, work_ns, order, set()

    def decide(self, candidate, now_ns, x, market_row):
        asked = candidate.ts_ns // (2 * WINDOW_NS) % 2 == 0
        self._clock.now_ns += self._work_ns if asked in self._known else 10**9
        self._known.add(asked)
        self._order.append((candidate.ts_ns, self._work_ns))
        p, reason = (0.1, Reason.P_BELOW_TAU) if asked else (np.nan, Reason.TIER)
        return Decision(allow=False, p=p, size=0.0, reason=reason, p_breakeven=0.5, latency_us=0.0)


@pytest.fixture
def worked(monkeypatch):
    """Measured rows of two gates, the clock, the calls, and how many windows each candidate's event closed after it."""
    clock, events = Clock(), random_events(31, 30.0)
    monkeypatch.setattr("runtime.drive.time", clock)
    monkeypatch.setattr("runtime.e2e.time", clock)
    local = events["local_ts"]
    first = int(local[0]) // WINDOW_NS * WINDOW_NS
    times = [first + k * WINDOW_NS for k in range(100, 160, 2)]
    own = Entries({t: candidate(ts_ns=t) for t in times})
    own.clock = clock
    order = []
    gates = {("B", False): Slow(clock, 11_000, order), ("B", True): Slow(clock, 300_000, order)}
    window = Working(clock, T=20, config=IMPATIENT)
    rows = time_decisions(events, window, gates, own, ts_ns=np.array(times), last=20, idle_ms=3.0)
    closers = np.searchsorted(local, times[-20:])
    more = local[closers] >= np.array(times[-20:]) + WINDOW_NS
    return SimpleNamespace(rows=rows, clock=clock, order=order, times=times[-20:], more=more)


def test_update_is_the_close_its_event_and_the_signals_and_nothing_of_the_feed_before(worked):
    assert 1 <= worked.more.sum() <= 19  # some events close a later window too, and are applied with that one
    expected = np.where(worked.more, 1.03, 1.23)
    for rows in worked.rows.values():
        np.testing.assert_allclose(rows["update_us"], expected, rtol=1e-9)


def test_snapshot_and_decide_are_the_calls_alone_and_first_answers_are_not_counted(worked):
    for (_, model), us in (((0, False), 11.0), ((0, True), 300.0)):
        rows = worked.rows["B", model]
        assert rows["ts_ns"].tolist() == worked.times
        assert set(rows["asked"]) == {True, False}
        np.testing.assert_allclose(rows["snapshot_us"], 7.0)
        np.testing.assert_allclose(rows["decide_us"], us)


def test_the_gates_take_turns_in_going_first(worked):
    first = {}
    for ts, work_ns in worked.order:
        first.setdefault(ts, work_ns)
    assert list(first.values()) == [11_000, 300_000] * 10


def test_the_core_sleeps_before_each_of_the_last_windows_and_between_gates(worked):
    assert worked.clock.slept == [0.003] * 20 * 2
