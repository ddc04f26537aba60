"""What the first lines of a Tardis CSV say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .sources import first_bytes
from .tardis_lines import layout_of, read_line

__all__ = ["HEAD_BYTES", "VENUES", "TardisHead", "head_of"]

VENUES = {
    "binance-futures": "binance_usdm",
    "binance": "binance_spot",
    "binance-delivery": "binance_coinm",
    "bybit": "bybit",
    "bybit-spot": "bybit_spot",
    "okex-swap": "okx_swap",
    "okex": "okx_spot",
}
"""Tardis' names of the exchanges that can be read, and ours."""

HEAD_BYTES = 1 << 16
"""As much of a file is read to know what it is."""

_US_NS = 1_000


@dataclass(frozen=True)
class TardisHead:
    """What the first lines of a Tardis CSV say.

    Attributes
    ----------
    data_type : Tardis' name of it; ``quotes`` for book_ticker too
    exchange, symbol : as Tardis writes them; "" for a file that has a header and no line
    first_ns : first local_timestamp, ns UTC; 0 where no line can be used
    """

    path: Path
    data_type: str
    exchange: str
    symbol: str
    first_ns: int


def head_of(path: Path) -> TardisHead | None:
    """What lies at ``path``, if it is a Tardis CSV, plain or .gz; None for anything else. Reads 64 KiB at most.

    ``trades`` and ``liquidations`` have one header. A first line without an id is a liquidation: all exchanges of
    ``VENUES`` number their trades. Bybit numbered its early liquidations too, and its derivatives' trades have long
    ids: there, a short number is a liquidation if the path says so.
    """
    path = Path(path)
    try:
        head = first_bytes(path, HEAD_BYTES)
    except OSError:
        return None  # whoever asks has a sentence for a file that nobody can read
    lines = (head or b"").split(b"\n")
    layout = layout_of(lines[0])
    if layout is None:
        return None
    named: tuple[str, str] | None = None
    for line in lines[1:]:
        fields = line.split(b",")
        if len(fields) < 2:
            continue
        contract = fields[0].decode("latin-1"), fields[1].decode("latin-1")
        named = named or contract
        row = read_line(line, layout, fields[0], fields[1])
        if not isinstance(row, str):
            data_type = layout.data_type
            if data_type == "trades" and _liquidations(path, contract[0], row[4] or b""):
                data_type = "liquidations"
            return TardisHead(path, data_type, *contract, row[1] * _US_NS)
    return TardisHead(path, layout.data_type, *(named or ("", "")), 0)


def _liquidations(path: Path, exchange: str, name: bytes) -> bool:
    if exchange == "bybit" and name.isdigit():
        return "liquidations" in path.name or "liquidations" in path.parts
    return not name
