"""Live shadows to be killed: a process that has imported everything, and forks one for each line of JSON it is given.

    python -m tests.runtime.live_child OUT

OUT is a file descriptor: every line that a shadow receives is told there before it is recorded, as a ``TOLD``.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from feature_repo.instruments import instrument
from feature_repo.market.tape import read_tape
from feature_repo.window import FeatureWindow
from runtime.live import service
from runtime.live.recorder import LineRecorder

from .live_run import following

__all__ = ["CLOCK", "HELD_UP", "RECEIVED", "STOP", "TOLD", "WAITING"]

TOLD = struct.Struct("<qqqI")
"""Number of the shadow, time.monotonic_ns, local_ns, crc32 of the message."""
CLOCK, RECEIVED, WAITING, HELD_UP, STOP = range(5)
"""Places of the shared int64: local time; messages that a shadow has received, and those that wait; ns that the machine
held it up, at worst; a wish that it ends."""
_LOOK_S = 0.002


def _shadow(told: dict, out: int) -> None:
    shared = np.memmap(told["shared"], np.int64, "r+")

    class Reported(LineRecorder):
        def put(self, local_ns: int, payload: bytes) -> None:
            os.write(out, TOLD.pack(told["number"], time.monotonic_ns(), local_ns, zlib.crc32(payload)))
            super().put(local_ns, payload)

    service.LineRecorder = Reported
    folder = Path(told["folder"])
    with following(
        SimpleNamespace(**told["server"]),
        Path(told["bundle"]),
        folder,
        replay=False,
        every=told["every"],
        recordings=folder / "raw",
        state=folder / "state.npz",
        save_s=0.2,
        clock_ns=lambda: int(shared[CLOCK]),
    ) as run:
        while run.progress()[0] < 2:
            time.sleep(_LOOK_S)
        _say(pid=os.getpid(), resumed=run.shadow.resumed)
        before = time.monotonic_ns()
        while not shared[STOP] and run.shadow.running:
            time.sleep(_LOOK_S)
            shared[RECEIVED], shared[WAITING] = run.progress()
            now = time.monotonic_ns()
            shared[HELD_UP] = max(shared[HELD_UP], now - before)
            before = now
    if run.shadow.error is not None:
        raise run.shadow.error


def _say(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _warm(recording: str) -> None:
    """Load what is compiled, so that a shadow begins at once."""
    window = FeatureWindow(instrument=instrument("binance_usdm", "ETHUSDT"))
    events = read_tape(recording).events[:20_000]
    window.update(events)
    window.update_from_event(events[-1])
    window.advance_to(int(events["local_ts"][-1]))


def main() -> None:
    """Until stdin ends."""
    out = int(sys.argv[1])
    _warm(sys.argv[2])
    _say(ready=True)
    for line in sys.stdin:
        told = json.loads(line)
        if not (pid := os.fork()):
            status = 1
            try:
                _shadow(told, out)
                status = 0
            except BaseException as e:
                print(f"{type(e).__name__}: {e}", file=sys.stderr, flush=True)
            finally:
                os._exit(status)
        _say(gone=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
