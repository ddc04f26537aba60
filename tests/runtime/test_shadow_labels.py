"""Labels and shadow run place the same orders: outcomes must agree, and parents must not meet each other."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.constants import ORDER
from feature_repo.market.hft import to_hftbacktest
from meta_models.labels import INVALID, STOP, TARGET, TIMEOUT, UNFILLED
from runtime.candidate import Entry
from runtime.shadow_types import ORDER_DTYPE
from tests.runtime.label_agreement import CLASSES, FEE, RECORDINGS, STYLES, grid, markets, place
from tests.runtime.label_tapes import MS, best_quotes, random_tape
from tests.runtime.shadow_run import trades_of

__all__ = ["best_quotes", "random_tape"]  # other tests replay this tape too

pytestmark = pytest.mark.slow  # hftbacktest compiles in every process

STEP_MS = {
    "made up": 50,
    "rough": 50,
    "simulated flow": 500,
    "simulated book": 500,
    "binance_usdm_ethusdt": 100,
    "binance_spot_nexousdt": 10_000,
}
# What may differ at all: takers and makers. The rough tape was made for every class.
MAY_DIFFER = {"taker": {"sold in parts"}, "maker": {"sold in parts", "queue out of sight"}}


@pytest.fixture(scope="module", params=STEP_MS)
def market(request):
    found = next(markets(request.param), None)
    if found is None:
        pytest.skip(f"no recording at {RECORDINGS / request.param}")
    return found


@pytest.mark.parametrize("style", STYLES)
def test_outcomes_agree_and_every_other_one_is_explained(market, style):
    entry, slices = STYLES[style]
    case = place(market, grid(market, entry, STEP_MS[market.name]), slices)
    classes = case.classes()
    said = f"{market.name}, {style}: {case.share:.4%} of {len(case.labels)}, {dict(classes)}\n{case.confusion}"
    print(said)
    rough = market.name == "rough"
    assert case.share >= (0.98 if rough and entry == Entry.MAKER else 0.99), said
    allowed = set(CLASSES) if rough else MAY_DIFFER["maker" if entry == Entry.MAKER else "taker"]
    assert set(classes) <= allowed, said
    assert len(case.labels) > 900
    reached = {TARGET, STOP, TIMEOUT} | ({UNFILLED} if entry == Entry.MAKER else set())
    assert reached <= set(case.labels["outcome"].tolist()), said
    both = case.both
    # A few ticks where an overtaken message makes another best quote at the exchange.
    rtol = 1e-4 if rough else 1e-9
    np.testing.assert_allclose(case.labels["entry_px"][both], case.trades["entry_px"][both], rtol=rtol)
    if entry == Entry.IOC:
        np.testing.assert_array_equal(case.labels["t_fill_ns"][both], case.trades["t_fill_ns"][both])


@pytest.fixture(scope="module")
def made_up():
    (only,) = markets("made up")
    return only


def test_a_wrong_label_is_not_explained_away(made_up):
    case = place(made_up, grid(made_up, Entry.IOC, 500))
    assert not case.classes()
    for wrong, right in ((STOP, TARGET), (TIMEOUT, STOP), (INVALID, TIMEOUT), (UNFILLED, STOP)):
        k = int(np.flatnonzero(case.labels["outcome"] == right)[0])
        case.labels["outcome"][k] = wrong
        assert case.why(k) == "unexplained", (wrong, right)
        case.labels["outcome"][k] = right


def test_an_exchange_clock_that_is_ahead_of_ours_is_not_believed(made_up):
    # Quotes and trades that claim to leave the exchange after they arrived, as in the recording of NEXOUSDT.
    tape = random_tape(3, 25_000)
    tape.events["exch_ts"] += 60 * MS
    ahead = type(made_up)("ahead", tape, to_hftbacktest(tape), best_quotes(tape.events), 6.0)
    assert np.mean(ahead.quotes["exch_ts"] > ahead.quotes["local_ts"]) > 0.9
    for entry in Entry:
        case = place(ahead, grid(ahead, entry, 100), ORDER.ioc_slices)
        assert case.share >= 0.99
        both = case.both
        assert both.sum() > 20
        np.testing.assert_allclose(case.labels["entry_px"][both], case.trades["entry_px"][both], rtol=1e-9)


def test_parents_do_not_meet_each_other(made_up):
    tape, hft, quotes = made_up.tape, made_up.hft, made_up.quotes
    lo, _ = tape.span_ns
    ts = lo + np.arange(5, 65) * 300 * MS
    o = np.zeros(len(ts), ORDER_DTYPE)
    o["ts_ns"], o["side"], o["R_bps"], o["notional"] = ts, np.where(np.arange(60) % 3, 1, -1), 6.0, 10_000.0
    o["entry"], o["price"] = np.arange(60) % 2, quotes["bid"][np.searchsorted(quotes["local_ts"], ts)]
    for exit in ("label", "runner"):
        together = trades_of(hft, made_up.facts, o, fee=FEE, exit=exit, one_at_a_time=False)
        alone = [trades_of(hft, made_up.facts, o[i : i + 1], fee=FEE, exit=exit) for i in range(0, 60, 4)]
        np.testing.assert_equal(together[::4].tolist(), np.concatenate(alone).tolist())


def test_the_same_run_twice_gives_the_same_bytes(made_up):
    o = np.zeros(2, ORDER_DTYPE)
    o["ts_ns"], o["side"] = made_up.tape.span_ns[0] + np.array([20_000, 21_000]) * MS, [1, -1]
    o["R_bps"], o["notional"] = 6.0, 10_000.0
    first, second = (trades_of(made_up.hft, made_up.facts, o, fee=FEE).tobytes() for _ in range(2))
    assert first == second
