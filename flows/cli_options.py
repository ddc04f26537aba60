"""Arguments and options that several commands of `ofi-meta` share, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BadShareOption",
    "CandidatesOption",
    "EdgeOption",
    "FeaturesOption",
    "FeeOption",
    "MechanismOption",
    "RateOption",
    "ReleasesOption",
    "SeedOption",
    "SourceOption",
    "SymbolOption",
    "TapeArgument",
    "TapesArgument",
    "VenueOption",
]

TapesArgument = Annotated[
    list[Path], typer.Argument(metavar="TAPE", help="Recordings, tape files or tape folders", show_default=False)
]
TapeArgument = Annotated[Path, typer.Argument(help="Recording, tape file or tape folder", show_default=False)]
FeaturesOption = Annotated[Path, typer.Option("--features", help="Features folder of one symbol", show_default=False)]
SymbolOption = Annotated[str | None, typer.Option("--symbol", help="Which symbol, where there are several or none")]
VenueOption = Annotated[str | None, typer.Option("--venue", help="Where the source does not tell, as an npz does not")]
SourceOption = Annotated[
    str | None, typer.Option("--source", help="binance, tardis or hftbacktest; default: from the content")
]
BadShareOption = Annotated[
    float, typer.Option("--max-bad-share", min=0.0, max=1.0, help="A file with more unusable rows is refused")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Of every draw")]
EdgeOption = Annotated[float, typer.Option("--edge", help="0: nothing is known beforehand; 1: a lot")]
MechanismOption = Annotated[str, typer.Option("--mechanism", help="What gives the edge away: flow or book")]
RateOption = Annotated[
    float | None, typer.Option("--rate", help="Rows a second; default: a quiet market, ETHUSDT has 1000")
]
FeeOption = Annotated[
    str | None, typer.Option("--fee-tier", help="A tier of the venue: regular, vip9 ...; default: its regular")
]
CandidatesOption = Annotated[
    Path | None,
    typer.Option(
        "--candidates",
        help="Entries of your own strategy, CSV or Parquet; default: built-in signals",
        show_default=False,
    ),
]
ReleasesOption = Annotated[Path, typer.Option("--releases", help="Folder of the bundles")]
