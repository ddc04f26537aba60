"""One depth message of a real recording is lost: everything that reads the tape sees that, until the next snapshot."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from feature_repo import FeatureWindow, build_features, read_tape
from feature_repo.constants import ENGINE, MS_NS, SECOND_NS, WINDOW_NS
from feature_repo.events import BUY, DEPTH, DEPTH_CLEAR, DEPTH_SNAPSHOT, GAP, KIND_MASK
from meta_models.labels import INVALID, tri_barrier_label
from runtime.decision import Reason
from runtime.gate import GuardsOnly
from runtime.shadow import blind_spans
from runtime.shadow_types import NO_DATA, ORDER_DTYPE
from tests.runtime.shadow_run import trades_of

from .gate_builders import FEE, candidate

RECORDING = Path(__file__).parents[3] / "shared" / "data" / "binance_usdm_ethusdt"
LOST_AFTER_S, SNAPSHOT_AFTER_S = 200, 230

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDING.is_dir(), reason="the recordings lie beside the project, not in it"),
]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The recording without one depthUpdate, and with a REST snapshot half a minute later."""
    lines = [
        line for name in sorted(RECORDING.glob("*.gz")) for line in gzip.decompress(name.read_bytes()).splitlines()
    ]
    start = int(lines[0][:19])
    whole = read_tape(RECORDING).events
    lost = next(
        i for i, x in enumerate(lines) if b"depthUpdate" in x and int(x[:19]) > start + LOST_AFTER_S * SECOND_NS
    )
    at = next(
        i for i, x in enumerate(lines) if b"depthUpdate" in x and int(x[:19]) > start + SNAPSHOT_AFTER_S * SECOND_NS
    )
    data = json.loads(lines[at][20:])["data"]
    bids, asks = book_at(whole, data["T"] * MS_NS)
    snapshot = {"lastUpdateId": data["u"], "E": data["E"], "T": data["T"], "bids": bids, "asks": asks}
    made = [*lines[:lost], *lines[lost + 1 : at + 1], lines[at][:20] + json.dumps(snapshot).encode(), *lines[at + 1 :]]
    path = tmp_path_factory.mktemp("lost") / "recording"
    path.write_bytes(b"\n".join(made) + b"\n")
    return whole, read_tape(path)


def book_at(events, exch_ns):
    """Levels after the last depth message of that exchange time, as REST sends them."""
    book = {True: {}, False: {}}
    for ev, exch, px, qty in zip(
        events["ev"].tolist(),
        events["exch_ts"].tolist(),
        events["px"].tolist(),
        events["qty"].tolist(),
        strict=True,
    ):
        kind, side = ev & KIND_MASK, bool(ev & BUY)
        if kind in (DEPTH, DEPTH_SNAPSHOT):
            if exch > exch_ns:
                break
            book[side][px] = qty
        elif kind == DEPTH_CLEAR:
            book[side].clear()
    return [[[f"{p:.2f}", f"{q:.3f}"] for p, q in sorted(book[s].items(), reverse=s) if q] for s in (True, False)]


def gap_and_snapshot(tape):
    kind = tape.events["ev"] & np.uint64(KIND_MASK)
    gap = np.flatnonzero(kind == GAP)
    assert len(gap) == 1
    again = gap[0] + np.flatnonzero(kind[gap[0] :] == DEPTH_SNAPSHOT)[0]
    return int(tape.events["local_ts"][gap[0]]), int(tape.events["local_ts"][again])


def test_the_manifest_counts_and_warns(damaged):
    tape = damaged[1]
    assert tape.manifest["gaps"] == 1
    assert any("1 sequence gaps" in w for w in tape.manifest["warnings"])
    gap, again = gap_and_snapshot(tape)
    assert 25 < (again - gap) / SECOND_NS < 35


def test_features_and_quotes(damaged):
    whole, tape = damaged
    gap, again = gap_and_snapshot(tape)
    table = build_features(tape)
    t = table.t_ns
    blind = (t > gap + WINDOW_NS) & (t < again + ENGINE.warm_up_s * SECOND_NS)
    assert blind.sum() > 800
    assert not table.market["valid"][blind].any()
    valid = table.market["valid"]
    assert valid[(t > gap - 60 * SECOND_NS) & (t <= gap)].all()
    assert valid[t > again + (ENGINE.warm_up_s + 1) * SECOND_NS].all()
    spans = blind_spans(table.quotes)
    # The first span is the wait for the first snapshot, if the tape begins without one.
    assert [gap, again] in spans.tolist()
    # After the new snapshot the book is that of the undamaged recording.
    late = again + 60 * SECOND_NS
    ours, theirs = table.quotes[table.quotes["local_ts"] > late], build_features_of(whole, tape).quotes
    theirs = theirs[theirs["local_ts"] > late]
    for name in ("local_ts", "bid", "ask", "bid_qty", "ask_qty"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def build_features_of(events, tape):
    from feature_repo.market.tape import Tape

    return build_features(Tape(tape.venue, tape.symbol, events, {}))


def test_window_gate_labels_and_replay(damaged):
    from feature_repo.market.hft import to_hftbacktest

    tape = damaged[1]
    gap, again = gap_and_snapshot(tape)
    table = build_features(tape)
    inside = (gap // WINDOW_NS + 100) * WINDOW_NS
    window = FeatureWindow(T=20, instrument=tape.instrument)
    window.update(tape.events[tape.events["local_ts"] < inside])
    window.advance_to(inside)
    assert window.snapshot() is None

    facts = tape.instrument
    gate = GuardsOnly("C", fee=FEE, symbol=tape.symbol, tick=facts.tick, lot=facts.lot, T=20, source=window)
    answer = gate.allow(candidate(ts_ns=inside, symbol=tape.symbol, price=3420.0, expiry_ns=inside + SECOND_NS), inside)
    assert (answer.allow, answer.reason) == (False, Reason.NO_WINDOW)

    taker = {"R_bps": 20.0, "latency_ns": 20 * MS_NS, "entry": "taker", "end_ns": tape.span_ns[1]}
    before, within, after = gap - 30 * SECOND_NS, inside, again + 5 * SECOND_NS
    outcomes = [tri_barrier_label(table.quotes, t, 1, **taker).outcome for t in (before, within, after)]
    assert outcomes[:2] == [INVALID, INVALID]
    assert outcomes[2] != INVALID

    orders = np.zeros(3, ORDER_DTYPE)
    orders["ts_ns"], orders["side"], orders["R_bps"], orders["notional"] = (before, within, after), 1, 20.0, 10_000.0
    got = trades_of(to_hftbacktest(tape), facts, orders, fee=FEE, one_at_a_time=False, blind=blind_spans(table.quotes))[
        "status"
    ]
    assert got[:2].tolist() == [NO_DATA, NO_DATA]
    assert got[2] != NO_DATA
