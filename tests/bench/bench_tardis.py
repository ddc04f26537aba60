"""Reading Tardis CSV, beside hftbacktest's converter (polars)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from .data import ETHUSDT, WHY_NOT, make_recording, make_tardis, rows_of
from .harness import Bench, Took, alternate, in_process, measured, not_measured

__all__ = ["run"]

_COPIES = 12
_UNIT = "rows/s"
_PEER = "hftbacktest tardis.convert"
_GOAL = "ours >= 2000000"
_IMPORTED = ", as imported"


def run() -> list[Bench]:
    """Plain and packed, one core each."""
    names = {False: "tardis: plain CSV, one core", True: "tardis: CSV.gz, one core"}
    if not ETHUSDT.is_dir():
        every = [row for name in names.values() for row in (name, name + _IMPORTED)]
        return [not_measured(name, _UNIT, WHY_NOT, goal=_GOAL) for name in every]
    out = []
    with TemporaryDirectory() as folder:
        recording = Path(folder) / "ethusdt.gz"
        make_recording(recording, 1)
        events = rows_of(recording)
        for packed, name in names.items():
            place = Path(folder) / ("gz" if packed else "plain")
            place.mkdir()
            files = make_tardis(place, events, _COPIES, packed=packed)
            rows, took = in_process("bench_tardis:both", *files)
            reader, whole, peer = (rows / cpu_s for _, cpu_s in took)
            what = (
                f"{rows:,} rows of trades and incremental_book_L2, the ETHUSDT recording {_COPIES} times in a row as "
                "Tardis CSV; CPU time"
            )
            out += [
                measured(
                    name, reader, _UNIT, peer_name=_PEER, peer=peer, goal=_GOAL, how=f"{what}; files to event rows"
                ),
                measured(
                    name + _IMPORTED,
                    whole,
                    _UNIT,
                    peer_name=_PEER,
                    peer=peer,
                    goal=_GOAL,
                    how=f"{what}; the sha256, the clock constant and the audit for a crossed book included",
                ),
            ]
    return out


def both(trades: str, book: str) -> tuple[int, list[Took]]:
    """Rows, and the times of our reader, our whole import, and the converter."""
    from hftbacktest.data.utils.tardis import convert

    from feature_repo.market.detect import open_source
    from feature_repo.market.stream import BadRows
    from feature_repo.market.tardis import TardisReader

    files = [Path(trades), Path(book)]

    def reader() -> None:
        for _ in TardisReader(files, BadRows()).chunks():
            pass

    def whole() -> None:
        for _ in open_source(files[0].parent).chunks():
            pass

    def peer() -> None:
        convert([trades, book], buffer_size=rows + 1_000_000)

    rows = sum(_count(f) for f in files)
    return rows, alternate([reader, whole, peer])


def _count(path: Path) -> int:
    from isal import igzip

    n = -1  # the header
    with igzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
        while block := handle.read(1 << 20):
            n += block.count(b"\n")
    return n
