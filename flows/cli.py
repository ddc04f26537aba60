"""The command `ofi-meta`: one face for all that a person can ask for; what a command does lies beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from . import cli_release, cli_tape, environment
from .cli_options import (
    CandidatesOption,
    EdgeOption,
    FeaturesOption,
    FeeOption,
    MechanismOption,
    RateOption,
    ReleasesOption,
    SeedOption,
    SourceOption,
    SymbolOption,
    TapeArgument,
    TapesArgument,
    VenueOption,
)
from .progress import SERVER_START, Stages

__all__ = ["main"]

app = typer.Typer(
    name="ofi-meta",
    help="Which candidates of an order-flow strategy deserve an order, and how large. Never places one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_tape.app, name="tape")
app.add_typer(cli_release.app, name="release")


@app.command()
def features(
    tapes: TapesArgument,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Tapes at a time, each with its table in memory; default: one a CPU")
    ] = None,
) -> None:
    """Build the 100 ms rows of tapes, several side by side; prints each features' folder.

    A tape that cannot be used does not stop the others. In memory: 0.3 GB a tape at a time, and 0.3 GB for each of its
    days. The days of one tape follow each other, so that the engine's memories run through.
    """
    from .features import run

    results = run(tapes, workers=workers)
    for made in results:
        if isinstance(made, Path):
            typer.echo(str(made))
    codes = [_fail(*_told(made)) for made in results if not isinstance(made, Path)]
    if codes:
        raise typer.Exit(max(codes))


@app.command()
def label(
    tape: TapeArgument,
    features: FeaturesOption,
    fee_tier: FeeOption = None,
    candidates: CandidatesOption = None,
    max_candidates: Annotated[int, typer.Option(min=1)] = MODEL.max_candidates,
    t: Annotated[int, typer.Option("--t", min=20, max=100, help="Steps of a stored window")] = MODEL.T,
) -> None:
    """Find the candidates, or take yours; label them, fill the feature store; prints the labels' file."""
    from feature_repo.table import FeatureTable
    from runtime.entries import read_entries

    from .steps import fee_of, fill_store, make_labels, make_tape

    if candidates is not None:
        read_entries(candidates)  # before the tape is imported: a wrong column should not take minutes to tell
    fee = fee_of(FeatureTable.load(features).venue, fee_tier)
    stages = Stages()
    with stages.stage("tape") as advance:
        folder = make_tape(tape, progress=advance)
    with stages.stage("labels") as advance:
        made = make_labels(
            folder, features, fee, max_candidates=max_candidates, candidates=candidates, progress=advance
        )
    with stages.stage("feature store") as advance:
        fill_store(features, made.path, fee, T=t, progress=advance)
    if made.used < made.found:
        typer.echo(f"{made.found:,} candidates found, the latest {made.used:,} labelled (--max-candidates)")
    typer.echo(str(made.path))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def train(context: typer.Context) -> None:
    """Train one net on a labelled set and export it; see `ofi-meta train --help`."""
    from meta_models.train import main as train_main

    raise typer.Exit(train_main(context.args))


@app.command()
def shadow(
    tape: Annotated[Path | None, typer.Option(help="Your recording or tape; default: a SIMULATED tape")] = None,
    symbol: SymbolOption = None,
    venue: VenueOption = None,
    source: SourceOption = None,
    candidates: CandidatesOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the reports")] = Path("reports"),
    releases: ReleasesOption = Path("releases"),
    models: Annotated[Path, typer.Option(help="Folder of the single nets")] = Path("models/export"),
    fee_tier: Annotated[
        str | None, typer.Option(help="A tier of the venue: regular, vip9 ...; a GO needs it named")
    ] = None,
    order_latency: Annotated[str, typer.Option(help="constant, or tape: as late as the tape's own feed")] = "constant",
    seed: int = MODEL.seed,
    hours: Annotated[float, typer.Option(help="Length of the simulated tape")] = 24.0,
    edge: EdgeOption = 1.0,
    mechanism: MechanismOption = "flow",
    rate: RateOption = None,
    folds: int = MODEL.folds,
    max_candidates: int = MODEL.max_candidates,
    draw: Annotated[str, typer.Option(help="Of too many candidates: latest, or even, from the whole tape")] = "latest",
    train_minutes: float = MODEL.train_minutes,
    t: Annotated[int, typer.Option("--t", help="Steps of a window, 20 to 100")] = MODEL.T,
    rolling: Annotated[
        bool, typer.Option("--rolling", help="Train on a span of one length, not on everything before")
    ] = False,
    model: Annotated[str, typer.Option(help="tcn, transformer, lstm, stack (all three) or logistic")] = "tcn",
    tau: Annotated[
        str, typer.Option(help="Threshold on P: fitted, from what the training span paid, or profile, the constants")
    ] = "fitted",
) -> None:
    """The experiment matrix A/B/C x (no model, model), from a recording to a verdict."""
    from .parameters import ShadowParameters, as_options, check_folders
    from .steps import check_candidates

    with as_options():
        parameters = ShadowParameters(
            tape=tape,
            symbol=symbol,
            venue=venue,
            source=source,
            candidates=candidates,
            out=out,
            releases=releases,
            models=models,
            fee_tier=fee_tier,
            order_latency=order_latency,
            seed=seed,
            hours=hours,
            edge=edge,
            mechanism=mechanism,
            rate=rate,
            folds=folds,
            max_candidates=max_candidates,
            draw=draw,
            train_minutes=train_minutes,
            t=t,
            rolling=rolling,
            model=model,
            tau=tau,
        )
    check_folders(parameters.out, parameters.releases, parameters.models)
    if parameters.tape is not None and not parameters.tape.exists():
        # Before the server starts: a typing error should not take ten seconds to tell.
        raise InputError(f"{parameters.tape} does not exist", "a recording, a tape file or a tape folder", "Check TAPE")
    check_candidates(parameters)
    environment.quiet_terminal()
    with SERVER_START:
        from .shadow import shadow_flow

        shadow_flow(parameters)


@app.command()
def nightly(
    sources: Annotated[
        list[Path] | None, typer.Argument(metavar="[SOURCE]...", help="Folders of raw files; none: a simulated market")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=31, help="The last so many; of a simulated market all")] = 3,
    model: Annotated[str, typer.Option(help="tcn, transformer, lstm, stack or logistic")] = "stack",
    folds: int = MODEL.folds,
    fee_tier: FeeOption = None,
    max_candidates: Annotated[int, typer.Option(min=1)] = MODEL.max_candidates,
    edge: EdgeOption = 1.0,
    seed: SeedOption = MODEL.seed,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="A release made of simulated data may be promoted")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the reports")] = Path("reports"),
    releases: ReleasesOption = Path("releases"),
    models: Annotated[Path, typer.Option(help="Folder of the single nets")] = Path("models/export"),
) -> None:
    """One night: ingest, features and labels, retrain with the matrix, drift, promotion or rollback."""
    from .night_command import run

    raise typer.Exit(
        run(
            sources or [],
            days=days,
            model=model,
            folds=folds,
            fee_tier=fee_tier,
            max_candidates=max_candidates,
            edge=edge,
            seed=seed,
            rehearsal=rehearsal,
            out=out,
            releases=releases,
            models=models,
        )
    )


@app.command()
def honesty(
    seeds: Annotated[int, typer.Option(help="Of each edge")] = 20,
    candidates: Annotated[int, typer.Option(help="A run")] = 3_000,
    models: Annotated[str, typer.Option(help="By commas")] = "tcn,logistic",
    folds: int = MODEL.folds,
    workers: Annotated[int, typer.Option(help="Runs at a time, one core each")] = 2,
    short: Annotated[bool, typer.Option("--short", help="3 + 3 seeds, logistic only: shows that it works")] = False,
    out: Annotated[Path, typer.Option(help="Folder of honesty.json and honesty.png")] = Path("reports"),
    docs: Annotated[Path | None, typer.Option(help="A page whose table is written anew", show_default=False)] = None,
) -> None:
    """How often simulated runs claim that the model helps, with a planted edge and without one."""
    from .honesty import run

    names = tuple(name for name in models.split(",") if name)
    raise typer.Exit(
        run(
            seeds=seeds,
            candidates=candidates,
            models=names,
            folds=folds,
            workers=workers,
            short=short,
            out=out,
            docs=docs,
        )
    )


@app.command()
def infer(
    tape: TapeArgument,
    bundle: Annotated[Path, typer.Option(help="Release folder or link")] = Path("releases/current"),
    profile: Annotated[str, typer.Option(help="A, B or C")] = "B",
    fee_tier: FeeOption = None,
    store: Annotated[bool, typer.Option("--store", help="Read each window through Feast's online store")] = False,
    limit: Annotated[int, typer.Option(help="Rows shown", min=1)] = 20,
    log: Annotated[
        Path | None, typer.Option(help="Folder to write every decision to, for explain", show_default=False)
    ] = None,
) -> None:
    """Print what the gate would allow on a tape, with the code that runs live. Orders are never placed."""
    from .infer import infer as run

    run(tape, bundle, profile=profile, fee_tier=fee_tier, store=store, limit=limit, log=log)


@app.command()
def live(
    symbol: Annotated[str, typer.Argument(help="Such as ETHUSDT")] = "ETHUSDT",
    venue: Annotated[str, typer.Option(help="binance_usdm, binance_coinm or binance_spot")] = "binance_usdm",
    bundle: Annotated[Path, typer.Option(help="Release folder or link")] = Path("releases/current"),
    profile: Annotated[str, typer.Option(help="A, B or C")] = "B",
    fee_tier: FeeOption = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Read windows from memory, not through Feast's online store")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(help="A recording, played by a local server instead", show_default=False)
    ] = None,
    speed: Annotated[float, typer.Option(help="Of the replay; 0: as fast as it goes", min=0.0)] = 1.0,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Recordings, state and decisions; default: data/live", show_default=False),
    ] = None,
    trades: Annotated[str, typer.Option(help="aggTrade, or trade for every single one")] = "aggTrade",
    public: Annotated[
        str | None, typer.Option("--public-url", help="Websocket of the book", show_default=False)
    ] = None,
    market: Annotated[
        str | None, typer.Option("--market-url", help="Websocket of the rest", show_default=False)
    ] = None,
    rest: Annotated[str | None, typer.Option("--rest-url", help="Of the depth snapshot", show_default=False)] = None,
    port: Annotated[int, typer.Option(help="Of /metrics and /healthz on this machine; 0: any free one")] = 9108,
    record: Annotated[bool, typer.Option(help="Write the raw lines")] = True,
    resume: Annotated[bool, typer.Option(help="Go on from the state of the process before")] = True,
) -> None:
    """Follow a live feed and show what the gate would allow. Orders are printed and logged, never placed."""
    from .live import LiveRequest
    from .live import live as run

    raise typer.Exit(
        run(
            LiveRequest(
                symbol.upper(),
                venue=venue,
                bundle=bundle,
                profile=profile,
                fee_tier=fee_tier,
                in_process=in_process,
                replay=replay,
                speed=speed,
                folder=folder,
                trades=trades,
                public=public,
                market=market,
                rest=rest,
                port=port,
                record=record,
                resume=resume,
            )
        )
    )


@app.command()
def explain(
    decision: Annotated[str, typer.Argument(help="Its id, or 'last'", show_default=False)],
    log: Annotated[Path, typer.Option(help="Folder of logged decisions")] = Path("decisions"),
    releases: ReleasesOption = Path("releases"),
) -> None:
    """Each check of a logged decision with its value and threshold, and the decision made again."""
    from .explain import show

    raise typer.Exit(show(decision, log, releases))


@app.command()
def drift(
    tape: TapeArgument,
    features: FeaturesOption,
    labels: Annotated[Path, typer.Option("--labels", help="Labels of the same symbol", show_default=False)],
    day: Annotated[str, typer.Option("--day", help="YYYY-MM-DD, UTC", show_default=False)],
    release: Annotated[Path, typer.Option("--release", help="Release folder or link")] = Path("releases/current"),
    out: Annotated[Path, typer.Option(help="Pages go to drift/<symbol>/<day>/ below it")] = Path("reports"),
    decisions: Annotated[
        Path | None, typer.Option(help="Folder of logged decisions, for the latency", show_default=False)
    ] = None,
    time_last: Annotated[
        int, typer.Option("--time", min=0, help="Without a log: time so many candidates of the day here and now")
    ] = 0,
) -> None:
    """One day against the training span of a release: drift, calibration, costs, data; exit code 3 for an ALERT."""
    from .drift_command import show

    raise typer.Exit(show(tape, features, labels, release, day, out=out, decisions=decisions, time_last=time_last))


def main() -> None:
    """Run the command; bad input becomes one sentence and exit code 2, never a traceback."""
    if sys.argv[1:2] == ["live"]:
        from runtime.live.flat_memory import begin_again_with_flat_memory

        begin_again_with_flat_memory()
    try:
        app()
    except (InputError, OSError) as error:
        sys.exit(_fail(*_told(error)))
    except BaseException as error:
        # Ctrl-C becomes an exit without a word in Typer, and in a flow another error: it ends the embedded server, too,
        # and Prefect then fails to report the interruption to it.
        if any(isinstance(e, KeyboardInterrupt) for e in _chain(error)):
            sys.exit(_fail("interrupted; outputs that were there before are as they were", 130))
        raise


def _told(error: InputError | OSError) -> tuple[str, int]:
    """One sentence, and the exit code."""
    if isinstance(error, InputError):
        return str(error), 2
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}. Expected a readable and writable place. Check it.", 1


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _fail(sentence: str, code: int) -> int:
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), sentence), soft_wrap=True)
    return code


if __name__ == "__main__":
    main()
