"""Importing a source eight times as long takes no more memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .binance_messages import MS, T0

# Not ru_maxrss: after fork and exec it begins with the peak of the process that started this one.
_IMPORT = r"""
import re, sys
from pathlib import Path
from feature_repo.market import day_files
from feature_repo.market.tape import open_stream, open_tape, write_stream
day_files.ROW_GROUP = 1 << 17  # so that the short source fills several
folder = write_stream(open_stream(Path(sys.argv[1])), Path(sys.argv[2]))
tape = open_tape(folder)
assert sum(len(c) for c in tape.chunks()) == tape.rows
print(tape.rows, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def recording(path, lines):
    """Diffs of 60 levels and trades, a message each 20 ms, as a plain file."""
    rng = np.random.default_rng(1)
    levels = [
        ",".join(f'["{99 - i / 100:.2f}","{rng.integers(9)}"]' for i in rng.integers(0, 900, 60)) for _ in range(50)
    ]
    with path.open("w") as out:
        out.write(
            f'{(T0 + 5) * MS} {{"lastUpdateId":10,"E":{T0},"T":{T0},"bids":[["99.0","1"]],"asks":[["101.0","2"]]}}\n'
        )
        for k in range(lines):
            at = T0 + 20 * k
            if k % 3 == 0:
                name = "trade"
                body = f'"e":"trade","E":{at},"T":{at},"s":"ETHUSDT","t":{k},"p":"100.0","q":"1","X":"MARKET","m":true'
            else:
                before = 10 + k - (2 if k % 3 == 1 and k > 1 else 1)
                name = "depth@0ms"
                ids = f'"U":{10 + k},"u":{10 + k},"pu":{before}'
                body = f'"e":"depthUpdate","E":{at},"T":{at},"s":"ETHUSDT",{ids},"b":[{levels[k % 50]}],"a":[]'
            out.write(f'{(at + 7) * MS} {{"stream":"ethusdt@{name}","data":{{{body}}}}}\n')


def peak(path, root):
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, str(path), str(root)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    rows, kib = done.stdout.split()
    return int(rows), int(kib) / 1024


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_length_of_the_source(tmp_path):
    found = []
    for times in (1, 8):
        path = tmp_path / f"{times}.dat"
        recording(path, times * 8_000)
        found.append(peak(path, tmp_path / f"out{times}"))
        path.unlink()
    (rows, one), (many, eight) = found
    print(f"{rows} rows {one:.0f} MiB, {many} rows {eight:.0f} MiB: {eight / one:.2f} x")
    assert rows > 2 * (1 << 17)
    assert many > 7.9 * rows
    assert eight < 1.2 * one
