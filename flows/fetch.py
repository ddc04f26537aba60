"""Fetch a day of market data, with a bar for each file and a table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from feature_repo.market.fetch import Fetched, default_types, fetch
from feature_repo.paths import data_root

__all__ = ["run"]


def run(
    symbol: str,
    date: str,
    *,
    venue: str = "binance_usdm",
    types: str | None = None,
    folder: Path | None = None,
    force: bool = False,
    console: Console | None = None,
) -> Path:
    """Fetch one day and say how to import it.

    Parameters
    ----------
    types : data types, separated by commas or blanks; None: all that an import makes use of
    folder : the day goes to ``folder/<venue>/<symbol>/``; None: ``raw`` below the data folder

    Returns
    -------
    Path of that folder

    Raises
    ------
    InputError
        See ``feature_repo.market.fetch.fetch``.
    """
    console = console or Console()
    chosen: Sequence[str] = default_types(venue) if not types else types.replace(",", " ").split()
    with _bars(console, chosen) as bars:
        done = fetch(
            symbol,
            date,
            venue=venue,
            types=chosen,
            folder=data_root() / "raw" if folder is None else folder,
            progress=bars,
            force=force,
        )
    console.print(_table(symbol, date, venue, done))
    where = done[0].path.parent
    if any(file.empty and file.data_type == "incremental_book_L2" for file in done):
        console.print("[yellow]Tardis has no book of that day.[/]")
    console.out(f"Import it: ofi-meta tape import {where}", highlight=False)
    return where


@contextmanager
def _bars(console: Console, types: Sequence[str]) -> Iterator:
    """Yield fetch's progress callback; bars on a terminal, in a log nothing but the table at the end."""
    bar = Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    if not bar.console.is_terminal:
        bar.disable = True
        bar.console.print(f"fetching {', '.join(types)}", highlight=False, soft_wrap=True)
    rows: dict[str, object] = {}

    def advance(data_type: str, done: int, total: int | None) -> None:
        if data_type not in rows:
            rows[data_type] = bar.add_task(data_type, total=total)
        bar.update(rows[data_type], completed=done, total=total)  # type: ignore[arg-type]

    with bar:
        yield advance


def _table(symbol: str, date: str, venue: str, done: Sequence[Fetched]) -> Table:
    table = Table(title=f"{symbol.upper()} on {venue}, {date}", title_justify="left")
    table.add_column("type")
    table.add_column("MiB", justify="right")
    table.add_column("sha256")
    table.add_column("")
    for file in done:
        if file.empty:
            table.add_row(file.data_type, "", "", "Tardis has no row of it that day")
        else:
            said = "fetched" if file.fetched else "was there, sha256 fits"
            table.add_row(file.data_type, f"{file.size / 2**20:.1f}", f"{file.sha256[:16]}...", said)
    return table
