"""The dry run of a tape: what the gate would allow, shown as a table."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from feature_repo.errors import InputError
from feature_repo.instruments import fee_tier as named_fee
from feature_repo.market.tape import StoredTape, stored_tape
from feature_repo.window import FeatureWindow
from reports.console import wide_console
from runtime.candidate import Candidate
from runtime.decision import Decision
from runtime.decision_log import LoggedGate, SeenWindow, decision_id
from runtime.dry_run import dry_run
from runtime.gate import MetaFilter
from runtime.signals import SignalDetector
from runtime.training_span import share_in_training

from .progress import Stages

__all__ = ["infer"]


def infer(
    tape_path: Path,
    bundle: Path,
    *,
    profile: str,
    fee_tier: str | None,
    store: bool,
    limit: int,
    log: Path | None = None,
) -> list[tuple[Candidate, Decision]]:
    """Replay a tape event by event through the live code and print the gate's answers.

    Parameters
    ----------
    store : read each window through Feast's online store instead of this process's memory
    limit : allowed candidates shown; all of them are counted
    log : every decision is written below it, for ``ofi-meta explain``
    """
    stages = Stages()
    with ExitStack() as open_until_done:
        with stages.stage("tape") as advance:
            tape = open_until_done.enter_context(stored_tape(tape_path, progress=advance))
        return _infer(tape, bundle, stages, profile=profile, fee_tier=fee_tier, store=store, limit=limit, log=log)


def _infer(
    tape: StoredTape,
    bundle: Path,
    stages: Stages,
    *,
    profile: str,
    fee_tier: str | None,
    store: bool,
    limit: int,
    log: Path | None,
) -> list[tuple[Candidate, Decision]]:
    fee = None if fee_tier is None else named_fee(tape.venue, fee_tier)
    gate = MetaFilter.load(bundle, profile=profile, fee=fee, shadow=True)  # nothing is ordered
    manifest = gate.manifest
    if (manifest.venue, manifest.symbol) != (tape.venue, tape.symbol):
        raise InputError(
            f"a bundle for {manifest.symbol} on {manifest.venue} and a tape of {tape.symbol} on {tape.venue}",
            "both of one symbol",
            "Train a bundle on this symbol, or give --bundle",
        )
    window = FeatureWindow(T=manifest.T, instrument=tape.instrument)
    gate.source, push = window, None
    if store:
        from runtime.live.online import OnlineWindow

        # A replay begins before what an earlier one left in the store.
        online = OnlineWindow(tape.symbol, T=manifest.T, restart=True)
        gate.source, push = online, online.push
    asked: MetaFilter | LoggedGate = gate
    if log is not None:
        seen = SeenWindow(gate.source)
        gate.source, asked = seen, LoggedGate(gate, seen, log)
    with stages.stage("dry run") as advance:
        answers = list(
            dry_run(
                tape.chunks(),
                window,
                SignalDetector(tape.symbol, tape.instrument.tick),
                asked,
                on_window=push,
                progress=advance,
                end_ns=tape.span_ns[1],
            )
        )
    if isinstance(asked, LoggedGate):
        asked.close()
        if asked.last_error:
            raise InputError(
                f"decisions that cannot be written to {log} ({asked.last_error})",
                "a folder with room in it",
                "Free some space, or give another --log",
            )
    _show(answers, profile, simulated=tape.simulated, limit=limit)
    if log is not None and answers:
        shown = next((c for c, d in answers if d.allow), answers[-1][0])
        wide_console().out(f"Logged: ofi-meta explain {decision_id(shown, profile)} --log {log}", highlight=False)
    if share := share_in_training(manifest, *tape.span_ns):  # what the gate says there is no forecast
        wide_console().print(
            f"[yellow]In sample: {share:.0%} of this tape's span lies in the bundle's training span.[/]"
        )
    return answers


def _show(answers: list[tuple[Candidate, Decision]], profile: str, *, simulated: bool, limit: int) -> None:
    console = wide_console()
    if simulated:
        console.print("[black on yellow] SIMULATED DATA: says nothing about a real market [/]")
    allowed = [(c, d) for c, d in answers if d.allow]
    table = Table(title=f"profile {profile}: {len(allowed):,} of {len(answers):,} allowed; no order is placed")
    for name in ("time (UTC)", "type", "side", "tier", "price", "R bps", "P", "break-even P", "size USD"):
        table.add_column(name, justify="left" if name in ("time (UTC)", "type", "side", "tier") else "right")
    for c, d in allowed[:limit]:
        at = datetime.fromtimestamp(c.ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]
        even = "" if math.isnan(d.p_breakeven) else f"{d.p_breakeven:.3f}"
        side = "buy" if c.side > 0 else "sell"
        table.add_row(
            at,
            c.sig_type.name.lower(),
            side,
            c.tier.name,
            f"{c.price:.2f}",
            f"{c.R_bps:.1f}",
            f"{d.p:.3f}",
            even,
            f"{d.size:,.0f}",
        )
    if len(allowed) > limit:
        table.caption = f"{len(allowed) - limit:,} more; --limit shows them"
    console.print(table)
    counts = Table(title="denied, by the first check that failed")
    counts.add_column("reason")
    counts.add_column("count", justify="right")
    for reason, n in Counter(d.reason.value for _, d in answers if not d.allow).most_common():
        counts.add_row(reason, f"{n:,}")
    console.print(counts)
