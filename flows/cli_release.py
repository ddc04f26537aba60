"""`ofi-meta release`: list releases, promote one by hand, or go back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import ReleasesOption

__all__ = ["app"]

app = typer.Typer(help="List releases, promote one, or go back to the one before.", no_args_is_help=True)


@app.command("list")
def release_list(releases: ReleasesOption = Path("releases")) -> None:
    """Show the releases: which one is served, how far it is rolled out, and the last change with its reason."""
    from .release import show

    show(releases)


@app.command("promote")
def release_promote(
    tag: Annotated[str, typer.Argument(help="Folder name under releases/", show_default=False)],
    stage: Annotated[str | None, typer.Option(help="shadow or small_live; default: the next one")] = None,
    releases: ReleasesOption = Path("releases"),
    why: Annotated[str, typer.Option(help="Noted in the history")] = "by hand",
) -> None:
    """Roll a release out by hand, one stage further: shadow (no order is allowed), then small_live."""
    from .release import promote

    promote(releases, tag, stage=stage, why=why)


@app.command("rollback")
def release_rollback(
    releases: ReleasesOption = Path("releases"),
    why: Annotated[str, typer.Option(help="Noted in the history")] = "by hand",
) -> None:
    """Serve what was served before the model that serves now."""
    from .release import rollback

    rollback(releases, why=why)
