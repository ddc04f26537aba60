"""`ofi-meta nightly`: one night in a terminal, without a server of one's own."""

from __future__ import annotations

from pathlib import Path

from reports.console import wide_console

from . import environment
from .parameters import as_options, check_folders
from .progress import SERVER_START

__all__ = ["run"]


def run(
    sources: list[Path],
    *,
    days: int,
    model: str,
    folds: int,
    fee_tier: str | None,
    max_candidates: int,
    edge: float,
    seed: int,
    rehearsal: bool,
    out: Path,
    releases: Path,
    models: Path,
) -> int:
    """Run it, print what each flow came to; 0 when all of them ended well, else 1.

    Parameters
    ----------
    sources : folders of raw files, one a contract; none: a SIMULATED market
    days : of a simulated market; of others the last so many
    rehearsal : a release of simulated data may be promoted

    Raises
    ------
    InputError
        For a parameter out of its range, or a file where a folder is wanted.
    """
    check_folders(out, releases, models)
    environment.quiet_terminal()
    with SERVER_START:
        from .markets import Market
        from .nightly import NightlyParameters, nightly_flow

        with as_options():
            markets = [Market(source=s) for s in sources] or [Market(edge=edge, seed=seed)]
            told = NightlyParameters(
                markets=markets,
                simulated_days=days,
                last_days=days,
                model=model,
                folds=folds,
                fee_tier=fee_tier,
                max_candidates=max_candidates,
                allow_simulated=rehearsal,
                out=out,
                releases=releases,
                models=models,
            )
    # Outside: the flow ends the status that was shown until its server was up.
    ended = nightly_flow(told, return_state=True)
    wide_console().out(f"Page: {out / 'index.html'}", highlight=False)
    return 0 if ended.is_completed() else 1
