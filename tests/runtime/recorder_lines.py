"""Lines of a market for a recorder, and what it left in its folder, as a reader sees it."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from pathlib import Path

import numpy as np

from feature_repo.market.recording import BinanceReader
from feature_repo.market.sources import CutOffError, head_of, open_blocks
from feature_repo.market.stream import BadRows

from ..feature_repo.binance_messages import BOOK, MS, T0, trade, usdm

__all__ = [
    "NEVER",
    "NS",
    "PATIENCE_S",
    "ROOT",
    "files_of",
    "market",
    "members",
    "payload_of",
    "put_all",
    "readable",
    "rows_of",
    "text",
    "unpacked",
    "until",
]

ROOT = Path(__file__).resolve().parents[2]
NS = T0 * MS
NEVER = 3600.0  # seconds: the thread writes when it is told to
PATIENCE_S = 60.0  # for what must happen, on a machine that is busy with other things


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def payload_of(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def market(n, *, start_ns=NS, step_ns=MS):
    """(local_ns, payload) of a snapshot and then diffs and trades, ``n`` in all."""
    out, u = [BOOK], 100
    while len(out) < n:
        if len(out) % 3:
            out.append(trade(px=f"{100 + len(out) % 7 / 10:.2f}", m=bool(len(out) % 2), t=T0 + len(out)))
        else:
            out.append(usdm(u, u + 5, u - 1, [["98.0", f"{1 + len(out) % 9}"]], [["102.5", "1.5"]], t=T0 + len(out)))
            u += 6
    return [(start_ns + k * step_ns, payload_of(m)) for k, m in enumerate(out)]


def text(lines):
    return b"".join(b"%d %b\n" % line for line in lines)


def put_all(recorder, lines):
    for line in lines:
        recorder.put(*line)


def files_of(folder):
    """What a reader of the folder sees, in order of time."""
    return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: head_of(p).first_ns)


def unpacked(path):
    with gzip.open(path) as file:
        return file.read()


def members(path):
    """Sizes of the gzip members of a whole file."""
    rest, sizes = path.read_bytes(), []
    while rest:
        member = zlib.decompressobj(wbits=31)
        member.decompress(rest)
        assert member.eof
        sizes.append(len(rest) - len(member.unused_data))
        rest = member.unused_data
    return sizes


def readable(path):
    """The whole lines of a file that may have a torn end."""
    out = b""
    with open_blocks(path) as blocks:
        try:
            for block in blocks:
                out += block
        except CutOffError:
            pass
    return out


def rows_of(*files):
    bad = BadRows()
    reader = BinanceReader(files, bad)
    return np.concatenate(list(reader.chunks())), bad
