"""`ofi-meta tape`: import, look at, fetch or simulate market data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.market.stream import MAX_BAD_SHARE

from .cli_options import (
    BadShareOption,
    EdgeOption,
    MechanismOption,
    RateOption,
    SeedOption,
    SourceOption,
    SymbolOption,
    TapeArgument,
    VenueOption,
)
from .progress import Stages

__all__ = ["app"]

app = typer.Typer(help="Import, look at, fetch or simulate market data.", no_args_is_help=True)


@app.command("import")
def tape_import(
    path: TapeArgument,
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    source: SourceOption = None,
    max_bad_share: BadShareOption = MAX_BAD_SHARE,
) -> None:
    """Import market data of any accepted source, a file or a folder of days; prints the tape's folder."""
    from feature_repo.market.tape import open_tape

    from .steps import make_tape

    stages = Stages()
    with stages.stage("tape") as advance:
        folder = make_tape(
            path, symbol=symbol, venue=venue, source_kind=source, max_bad_share=max_bad_share, progress=advance
        )
    for warning in open_tape(folder).manifest.get("warnings", []):
        Console(stderr=True).print(Text.assemble(("warning: ", "yellow"), warning), soft_wrap=True)
    typer.echo(str(folder))


@app.command("fetch")
def tape_fetch(
    symbol: Annotated[str, typer.Argument(help="As Tardis names it, e.g. ETHUSDT", show_default=False)],
    date: Annotated[str, typer.Argument(help="YYYY-MM-DD; the first of a month is free", show_default=False)],
    venue: Annotated[str, typer.Option(help="binance_usdm, binance_spot, bybit, okx_swap ...")] = "binance_usdm",
    types: Annotated[str | None, typer.Option(help="Data types, by commas; default: all that an import uses")] = None,
    dir: Annotated[Path | None, typer.Option(help="Default: raw/ in the data folder", show_default=False)] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files whose sha256 is no longer the kept one")
    ] = False,
) -> None:
    """Download a day of Tardis CSV (other days than the first of a month need TARDIS_API_KEY)."""
    from .fetch import run

    run(symbol, date, venue=venue, types=types, folder=dir, force=force)


@app.command("simulate")
def tape_simulate(
    seed: SeedOption = MODEL.seed,
    hours: Annotated[float | None, typer.Option(help="Length; default 24")] = None,
    days: Annotated[int | None, typer.Option(help="Length in whole days that continue each other")] = None,
    edge: EdgeOption = 1.0,
    mechanism: MechanismOption = "flow",
    rate: RateOption = None,
) -> None:
    """Make a SIMULATED tape with a planted edge; prints its folder."""
    from .steps import make_tape

    if hours is not None and days is not None:
        raise InputError(f"--hours {hours:g} and --days {days}", "one of them", "Leave the other out")
    length = 24.0 * days if days is not None else 24.0 if hours is None else hours
    stages = Stages()
    with stages.stage("tape (simulated)") as advance:
        folder = make_tape(None, seed=seed, hours=length, edge=edge, mechanism=mechanism, rate=rate, progress=advance)
    typer.echo(str(folder))


@app.command("inspect")
def tape_inspect(
    path: TapeArgument,
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    source: SourceOption = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture: .png, .svg or .pdf", show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")] = False,
) -> None:
    """Show what a tape or any accepted source holds: span, rows, gaps, spread, clock, bad rows, R2 of return on OFI."""
    from .inspect import run

    run(path, symbol=symbol, venue=venue, source=source, plot=plot, json_=json)
