"""Messages that are lost, in the wrong order, damaged, there twice, or none: the book is right, or not trusted."""

from __future__ import annotations

from collections import Counter

import pytest

from feature_repo.errors import InputError

from .live_faults import DIGITS, FAULT_S, SOON_S, During, assert_blind_once, blind, once, play
from .live_run import assert_safe, batch, said

pytest_plugins = ("tests.runtime.live_recordings", "tests.runtime.live_market_time")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_often_in_market_time")]


@pytest.fixture(scope="module")
def answers(short, bundle):
    """What the gate says of the undamaged two minutes."""
    return batch(short.path, bundle, every=1)[1]


def losing(part):
    """Every tenth depth message and every third trade of three seconds."""
    seen = Counter()

    def do(n, frame):
        for kind, each in ((b"@depth", 10), (b"@trade", 3)):
            if kind in frame[:60]:
                seen[kind] += 1
                return [frame] if seen[kind] % each else []
        return [frame]

    return During(part, FAULT_S, FAULT_S + 3, do)


def swapping(part, kind, times):
    """A message of a kind comes behind the next one of its kind, so many times."""
    kept, left = [], [times]

    def do(n, frame):
        if kind not in frame[:60] or not left[0]:
            return [frame]
        if not kept:
            kept.append(frame)
            return []
        left[0] -= 1
        return [frame, kept.pop()]

    return During(part, FAULT_S, FAULT_S + 20, do)


@pytest.mark.long
def test_lost_messages_cost_the_book_until_a_snapshot(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, losing(part))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.gaps >= 1
    assert run.view.reconnects == 0


@pytest.mark.long
def test_depth_messages_in_the_wrong_order_cost_the_book_until_a_snapshot(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, swapping(part, b"@depth", 2))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.view.gaps >= 1


@pytest.mark.long
def test_trades_in_the_wrong_order_leave_the_book_alone(part, bundle, tmp_path):
    run = play(part, bundle, tmp_path, swapping(part, b"@trade", 60), speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert blind(run, part) == []
    assert (at > FAULT_S).sum() > 100
    assert run.shadow._reader.parser.bad_rows == {"trade: duplicate id": 60}


@pytest.mark.long
def test_trades_that_are_missing_leave_the_book_alone(part, bundle, tmp_path):
    """As when the connection of the trades alone is down: only what is made of trades is wrong, and nobody is told."""
    lost = During(part, FAULT_S, FAULT_S + 30, lambda n, frame: [] if b"@trade" in frame[:60] else [frame])
    run = play(part, bundle, tmp_path, lost, speed=0)
    at = assert_safe(run, part, tmp_path / "raw", bundle)
    assert blind(run, part) == []
    assert ((at > FAULT_S) & (at < FAULT_S + 30)).sum() > 50
    assert run.shadow._reader.parser.trade_ids_missing > 100


def test_messages_that_come_twice_change_nothing(short, bundle, answers, tmp_path):
    run = play(short, bundle, tmp_path, During(short, SOON_S, SOON_S + 1, lambda n, frame: [frame] * 2), speed=0)
    at = assert_safe(run, short, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == answers
    assert (at > SOON_S).sum() > 100
    assert sum(run.shadow._reader.parser.bad_rows.values()) > 20


RUBBISH = (
    b"",
    b"null",
    b"[]",
    b'[{"e":"depthUpdate"}]',
    b'"ethusdt@depth"',
    b"1e999",
    b"[" * 5_000,
    bytes(range(1, 256)) * 3,
    b'{"stream":"ethusdt@depth@0ms","data":{"e":"depthUpdate","E":17213470225',
    b'{"stream":"ethusdt@depth@0ms","data":[]}',
    b'{"stream":["ethusdt@depth"],"data":{}}',
    b'{"stream":"ethusdt@trade","data":{"e":"trade","T":1' + b"0" * 400 + b"}}",
    b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"ETHUSDT","t":99999999999,"p":"1e400","q":"1","m":true}',
    b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"ETHUSDT","t":99999999999,"p":"NaN","q":"1","m":true}',
    b'{"e":"depthUpdate","E":1721347152000,"T":1721347152000,"s":"DOGEUSDX","U":1,"u":2,"pu":0,"b":[],"a":[]}',
    b'{"e":"depthUpdate","E":1,"T":1,"s":"ETHUSDT","U":1,"u":2,"pu":0,"b":[],"a":[]}',
    b'{"e":"surprise","E":1721347152000}',
    b'{"result":null,"id":1}',
)


def test_messages_that_are_no_messages_change_nothing(short, bundle, answers, tmp_path):
    """No JSON, no object, numbers without end, another symbol: beside the true messages."""
    first = short.line(SOON_S)

    def do(n, frame):
        extra = RUBBISH[n % len(RUBBISH)]
        return [frame, frame[: DIGITS + 1] + extra] if n < first + 2 * len(RUBBISH) else [frame]

    run = play(short, bundle, tmp_path, During(short, SOON_S, SOON_S + 20, do), speed=0)
    at = assert_safe(run, short, tmp_path / "raw", bundle)
    assert [said(*decision) for decision in run.decisions] == answers
    assert (at > SOON_S).sum() > 100
    assert sum(run.shadow._reader.parser.bad_rows.values()) == 2 * (len(RUBBISH) - 1)  # an acknowledgement is good


@pytest.mark.long
def test_a_depth_message_cut_short_costs_the_book_until_a_snapshot(part, bundle, tmp_path):
    cut = []

    def do(n, frame):
        if cut or b"@depth" not in frame[:60]:
            return [frame]
        cut.append(n)
        return [frame[: len(frame) // 2]]

    run = play(part, bundle, tmp_path, During(part, FAULT_S, FAULT_S + 1, do))
    assert_blind_once(run, part, assert_safe(run, part, tmp_path / "raw", bundle))
    assert run.shadow._reader.parser.bad_rows == {"the message is no JSON": 1}


@pytest.mark.long
def test_a_message_of_another_known_contract_ends_the_process_with_a_sentence(part, bundle, tmp_path):
    other = (
        b'{"e":"trade","E":1721347152000,"T":1721347152000,"s":"BTCUSDT","t":9999999999,"p":"64000","q":"1","m":true}'
    )
    run = play(part, bundle, tmp_path, once(part, b"%d %b" % (part.times[part.line(FAULT_S)], other)), speed=0)
    assert isinstance(run.shadow.error, InputError)
    assert "'BTCUSDT' after 'ETHUSDT'" in str(run.shadow.error)
    at = part.seconds(run.allowed()["t_ns"])
    assert len(at) > 100
    assert at.max() <= FAULT_S
