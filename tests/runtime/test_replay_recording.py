"""A real recording of ETHUSDT through the replay server: nothing is lost, and its snapshots continue its diffs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from feature_repo.events import BUY, DEPTH_CLEAR, DEPTH_SNAPSHOT, KIND_MASK, SELL
from feature_repo.events import DEPTH as DEPTH_KIND
from feature_repo.market.binance import BinanceParser
from feature_repo.market.sequence import BookSequence, DepthDiff, Verdict

from .replay_client import PATIENCE_S, ROOT, asked, lines_of, run, stamp, stream

pytestmark = pytest.mark.slow  # it waits for sockets


RECORDING = ROOT.parent / "shared" / "data" / "binance_usdm_ethusdt"


@pytest.mark.skipif(not RECORDING.is_dir(), reason="the recordings lie beside the project, not in it")
class TestRealRecording:
    """ETHUSDT, played once: what one client received, in the order it did, with a second snapshot on the way."""

    @pytest.fixture(scope="class")
    def received(self):
        async def client(server):
            told = []

            async def late():
                _, headers, body = await asked(server)
                told.append((len(frames), int(headers["X-Local-Ts"]), body))

            first, later, frames = asyncio.create_task(asked(server)), None, []
            async with stream(server) as connection:
                async for frame in connection:
                    frames.append(frame.encode())
                    if len(frames) == 30_000:
                        later = asyncio.create_task(late())
            await later
            return frames, await first, told[0]

        return run(client, sorted(RECORDING.glob("*.gz")), within_s=5 * PATIENCE_S)

    def test_frames_and_snapshot_are_the_recording(self, received):
        frames, (_, headers, body), _ = received
        lines = lines_of(*sorted(RECORDING.glob("*.gz")))
        at = next(k for k, line in enumerate(lines) if b'"lastUpdateId"' in line)
        assert headers["X-Local-Ts"].encode() + b" " + body == lines[at]
        assert frames[:at] == lines[:at]
        assert frames[at:] == lines[at + 1 :]

    def test_a_later_snapshot_continues_the_diffs(self, received):
        frames, _, (at, local_ns, body) = received
        snapshot = json.loads(body)
        assert 30_000 <= at < len(frames)
        assert local_ns in {stamp(frame) for frame in frames}
        assert list(snapshot) == ["lastUpdateId", "E", "T", "bids", "asks"]

        sequence, verdicts = BookSequence(), Counter()

        def judge(d):
            verdicts[sequence.judge(d)] += 1

        for k, frame in enumerate(frames[29_000:], start=29_000):
            if k == at:
                verdicts.clear()
                for held in sequence.snapshot(snapshot["lastUpdateId"]):
                    judge(held)
            if b"depthUpdate" in frame:
                d = json.loads(frame[20:])["data"]
                judge(DepthDiff(d["T"], d["U"], d["u"], d["pu"], [], [], [], []))
        assert verdicts[Verdict.APPLY] > 100
        assert set(verdicts) <= {Verdict.STALE, Verdict.APPLY}

    def test_its_book_is_that_of_the_first_snapshot_and_all_diffs(self, received):
        frames, (_, headers, body), (at, _, later) = received

        def kept(of, snapshot_ns, snapshot, before):
            """Both sides after all frames, price to quantity, by the parser."""
            parser = BinanceParser()
            for k, frame in enumerate(of):
                if k == before:
                    parser.parse(snapshot_ns, snapshot)
                if b"depthUpdate" in frame:
                    parser.parse(stamp(frame), frame[20:])
            assert parser.depth["snapshots"] == 1
            assert not parser.depth["depth_after_gap"]
            assert not parser.bad_rows
            return book_of(parser.take())

        lookback = 29_000
        from_first = kept(frames, int(headers["X-Local-Ts"]), body, 26)
        from_later = kept(frames[lookback:], stamp(frames[at]), later, at - lookback)
        for side in (BUY, SELL):
            best = sorted(from_first[side], reverse=side == BUY)[:200]
            assert {px: from_later[side].get(px) for px in best} == {px: from_first[side][px] for px in best}
            assert len(best) == 200


def book_of(rows):
    book = {BUY: {}, SELL: {}}
    for ev, px, qty in zip(rows["ev"].tolist(), rows["px"].tolist(), rows["qty"].tolist(), strict=True):
        side, kind = ev & (BUY | SELL), ev & KIND_MASK
        if kind == DEPTH_CLEAR:
            book[side].clear()
        elif kind in (DEPTH_KIND, DEPTH_SNAPSHOT):
            if qty:
                book[side][px] = qty
            else:
                book[side].pop(px, None)
    return book
