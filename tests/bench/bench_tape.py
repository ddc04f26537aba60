"""A tape on disk and in memory: bytes an event, and the peak of an import that is eight times as long."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from .data import ETHUSDT, WHY_NOT, make_recording, make_tardis, rows_of
from .harness import Bench, in_process, measured, not_measured, peak_mib

__all__ = ["run"]

_BYTES, _BYTES_GOAL = "tape: Parquet bytes an event", "ours <= 12"
_PEAKS = {"recording": "tape: memory, recording 8 x as long", "tardis": "tape: memory, Tardis CSV 8 x as long"}
_PEAK_GOAL = "ratio <= 1.2"
_SHORT, _LONG = 4, 32  # times the recording: two row groups, and sixteen


def run() -> list[Bench]:
    """Size, then memory of two sources."""
    if not ETHUSDT.is_dir():
        return [
            not_measured(_BYTES, "bytes", WHY_NOT, goal=_BYTES_GOAL),
            *(not_measured(name, "MiB", WHY_NOT, goal=_PEAK_GOAL) for name in _PEAKS.values()),
        ]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        recording = place / "ethusdt.gz"
        make_recording(recording, 1)
        out = [_size(recording, place)]
        for n in (_SHORT, _LONG):
            make_recording(place / f"{n}.gz", n, level=1)
        events = rows_of(recording)
        for n in (_SHORT, _LONG):
            (place / f"tardis{n}").mkdir()
            make_tardis(place / f"tardis{n}", events, n, packed=True)
        for name, short, long in (
            (_PEAKS["recording"], place / f"{_SHORT}.gz", place / f"{_LONG}.gz"),
            (_PEAKS["tardis"], place / f"tardis{_SHORT}", place / f"tardis{_LONG}"),
        ):
            (rows, low), (many, high) = (in_process("bench_tape:peak", p, place / "out", cpus=2) for p in (short, long))
            out.append(
                measured(
                    name,
                    high,
                    "MiB",
                    peer_name="ours, 1 x",
                    peer=low,
                    goal=_PEAK_GOAL,
                    how=f"largest resident memory of a process that imports {rows:,} and {many:,} events to Parquet",
                )
            )
    return out


def _size(recording: Path, place: Path) -> Bench:
    ours_rows, ours = in_process("bench_tape:parquet_bytes", recording, place / "size")
    peer_rows, peer = in_process("bench_tape:npz_bytes", recording, place / "peer.npz")
    return measured(
        _BYTES,
        ours / ours_rows,
        "bytes",
        peer_name="hftbacktest npz, compressed",
        peer=peer / peer_rows,
        goal=_BYTES_GOAL,
        how=f"the ETHUSDT recording, {ours_rows:,} events; the peer's file holds {peer_rows:,}, without best quotes",
    )


def parquet_bytes(recording: str, root: str) -> tuple[int, int]:
    """Events and bytes of the tape of a recording."""
    from feature_repo.market.detect import open_source
    from feature_repo.market.tape import open_tape, write_stream

    folder = write_stream(open_source(recording), Path(root))
    return open_tape(folder).rows, sum(p.stat().st_size for p in folder.glob("*.parquet"))


def npz_bytes(recording: str, path: str) -> tuple[int, int]:
    """Events and bytes of what hftbacktest's converter saves."""
    from hftbacktest.data.utils.binancefutures import convert

    rows = len(convert(recording, output_filename=path, buffer_size=5_000_000))
    return rows, Path(path).stat().st_size


def peak(source: str, root: str) -> tuple[int, float]:
    """Events, and the process's largest resident memory in MiB, of an import to Parquet."""
    from feature_repo.market.detect import open_source
    from feature_repo.market.tape import open_tape, write_stream

    folder = write_stream(open_source(source), Path(root))
    return open_tape(folder).rows, peak_mib()
