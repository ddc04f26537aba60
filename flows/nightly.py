"""A night: ingest, features and labels, retrain with the matrix, drift, promotion or rollback, one after the other."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, TypeVar

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import Flow, flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from reports.console import wide_console

from .artifacts import rows_table
from .ingest import ingest_flow
from .markets import DayParameters
from .prepare import FeatureParameters, features_flow
from .progress import Stages, server_is_up
from .promote import PromoteParameters, promote_flow
from .retrain import RetrainParameters, retrain_flow
from .watch import DriftParameters, drift_flow

__all__ = ["NIGHT", "NightlyParameters", "nightly_flow"]

Given = TypeVar("Given", bound=BaseModel)

NIGHT: tuple[tuple[Flow[..., Any], type[DayParameters]], ...] = (
    (ingest_flow, DayParameters),
    (features_flow, FeatureParameters),
    (retrain_flow, RetrainParameters),
    (drift_flow, DriftParameters),
    (promote_flow, PromoteParameters),
)
"""In this order: each reads what the ones before it left on disk."""
_COLUMNS = ("flow", "state", "told")


class NightlyParameters(RetrainParameters, DriftParameters, PromoteParameters):
    """What the flows of a night can be told, once for all of them."""


@flow(name="nightly", description="Ingest, features, retrain, drift, promote: one night.", timeout_seconds=12 * 3600)
def nightly_flow(parameters: NightlyParameters | None = None) -> Any:
    """Run every flow of the night. One that fails does not stop the next; the night fails at its end and says which."""
    server_is_up()
    parameters, stages, ended = parameters or NightlyParameters(), Stages(), []
    for step, kind in NIGHT:
        # The retraining shows its own stages, and a terminal has one bar at a time.
        with nullcontext() if step is retrain_flow else stages.stage(step.name):
            ended.append((step.name, step(part(parameters, kind), return_state=True)))
    rows = [(name, "done" if state.is_completed() else "failed", _told(state)) for name, state in ended]
    rows_table("nightly", "The night", [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    table = Table(*_COLUMNS, title="The night")
    for name, word, told in rows:
        table.add_row(name, f"[{'green' if word == 'done' else 'red'}]{word}[/]", Text(told))
    wide_console().print(table)
    failed = [(name, state) for name, state in ended if not state.is_completed()]
    if not failed:
        return Completed(message="; ".join(f"{name}: {_told(state)}" for name, state in ended))
    return Failed(message="; ".join(f"{name}: {_told(state)}" for name, state in failed))


def part(parameters: BaseModel, kind: type[Given]) -> Given:
    """The parameters of one flow among those of the night."""
    return kind(**{name: getattr(parameters, name) for name in kind.model_fields if hasattr(parameters, name)})


def _told(state: State[Any]) -> str:
    return state.message or state.name or ""
