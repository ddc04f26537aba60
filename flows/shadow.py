"""The shadow run as a Prefect flow: from a recording to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console

from feature_repo.market.tape import open_tape
from reports.matrix import BANNER, Report
from reports.terminal import print_report
from reports.transfer import Judged
from reports.write import write_reports

from . import latency, matrix, reporting, steps, training, transfer
from .parameters import ShadowParameters
from .progress import Stages, server_is_up
from .runner import runner

__all__ = ["Prepared", "judge_shadow", "matrix_markdown", "shadow_flow"]


def _task(step: Callable, name: str):
    # Tasks of one run hand each other paths and small arrays; hashing those for a cache would only cost time.
    return task(step, name=name, cache_policy=NO_CACHE)


make_tape = _task(steps.make_tape, "tape")
make_features = _task(steps.make_features, "features")
make_labels = _task(steps.make_labels, "candidates and labels")
fill_store = _task(steps.fill_store, "feature store")
train = _task(training.train, "walk-forward training")
run_matrix = _task(matrix.run_matrix, "shadow matrix")
measure_latency = _task(latency.measure_latency, "decision latency")
judge_other = _task(transfer.judge_transfer, "other mechanism")
judge = _task(reporting.judge, "statistics")
release = _task(reporting.release, "release bundle")
write = _task(write_reports, "reports")


@flow(
    name="shadow",
    description="Experiment matrix A/B/C x (no model, model), from a recording to a verdict.",
    task_runner=runner(),
)
def shadow_flow(parameters: ShadowParameters | None = None) -> str:
    """Run every step and write the reports. Returns the verdict, GO or NO-GO."""
    server_is_up()
    parameters = parameters or ShadowParameters()
    stages = Stages()
    report, bundle = judge_shadow(parameters, _prepare(parameters, stages), stages)
    console = Console()
    print_report(report.metrics, console)
    console.out(
        f"Reports in {parameters.out}: index.html (open this one), metrics.json, buckets.csv, pictures", highlight=False
    )
    if bundle is not None:
        console.out(
            f"Bundle: {bundle} (a candidate; `ofi-meta release promote {bundle.name}` begins its roll-out)",
            highlight=False,
        )
    create_markdown_artifact(
        matrix_markdown(report, bundle), key="shadow-matrix", description="Experiment matrix and verdict"
    )
    return str(report.metrics["verdict"]["word"])


@dataclass(frozen=True)
class Prepared:
    """What a training reads, wherever it was made."""

    tape: Path
    features: Path
    labelled: steps.LabelStep


def _prepare(parameters: ShadowParameters, stages: Stages) -> Prepared:
    """From raw data to labels and a filled feature store."""
    simulated = parameters.tape is None
    with stages.stage("tape (simulated)" if simulated else "tape") as progress:
        tape = make_tape(
            parameters.tape,
            symbol=parameters.symbol,
            venue=parameters.venue,
            source_kind=parameters.source,
            seed=parameters.seed,
            hours=parameters.hours,
            edge=parameters.edge,
            mechanism=parameters.mechanism,
            rate=parameters.rate,
            progress=progress,
        )
    fee = steps.fee_of(open_tape(tape).venue, parameters.fee_tier)  # a tier of another venue is told before the work
    with stages.stage("features") as progress:
        features = make_features(tape, progress=progress)
    with stages.stage("candidates and labels") as progress:
        labelled = make_labels(
            tape,
            features,
            fee,
            max_candidates=parameters.max_candidates,
            draw=parameters.draw,
            candidates=parameters.candidates,
            progress=progress,
        )
    with stages.stage("feature store") as progress:
        fill_store(features, labelled.path, fee, T=parameters.t, progress=progress)
    return Prepared(tape, features, labelled)


def judge_shadow(parameters: ShadowParameters, made: Prepared, stages: Stages) -> tuple[Report, Path | None]:
    """From labels to a verdict, the reports and a candidate release."""
    tape, features, labelled = made.tape, made.features, made.labelled
    with stages.stage("walk-forward training") as progress:
        trained = train(labelled.path, parameters, progress=progress)
    with stages.stage("shadow matrix") as progress:
        arms = run_matrix(
            tape,
            features,
            trained,
            fee_tier=parameters.fee_tier,
            order_latency=parameters.order_latency,
            progress=progress,
        )
    with stages.stage("decision latency") as progress:
        timed = measure_latency(tape, trained, own_entries=parameters.candidates is not None, progress=progress)
    moved: tuple[Judged, ...] = ()
    if open_tape(tape).simulated and parameters.candidates is None:  # the other tape has no entries of the user's
        with stages.stage("other mechanism (simulated)") as progress:
            moved = judge_other(tape, trained, arms, progress=progress)
    with stages.stage("statistics") as progress:
        report = judge(
            parameters,
            tape,
            features,
            labelled,
            trained,
            arms,
            moved,
            latency=timed,
            seconds=dict(stages.seconds),
            progress=progress,
        )
    with stages.stage("reports and bundle"):
        write(report, parameters.out, releases=parameters.releases)
        bundle = release(parameters, trained, arms, report)
    return report, bundle


def matrix_markdown(report: Report, bundle: Path | None) -> str:
    """Verdict and matrix, for an artifact."""
    metrics = report.metrics
    lines = [f"**{BANNER}**\n"] if metrics["simulated"] else []
    lines += [f"## {metrics['verdict']['word']}\n", *(f"- {reason}" for reason in metrics["verdict"]["reasons"])]
    lines += [
        "",
        "| fee tier | profile | model | candidates | allowed | trades | mean net bps |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for arm in metrics["matrix"]:
        judged = (arm.get("exits") or {}).get(metrics["verdict"]["judged_exit"]) or {}
        net = (judged.get("net_bps") or {}).get("value")
        shown = "N/A" if net is None else f"{net:.2f}"
        lines.append(
            f"| {arm['fee_tier']} | {arm['profile']} | {'yes' if arm['model'] else 'no'} | {arm['candidates']} "
            f"| {arm['allowed']} | {judged.get('trades', 0)} | {arm['na'] or shown} |"
        )
    lines.append(f"\nBundle: {bundle or 'none: too little data for a model'}")
    return "\n".join(lines)
