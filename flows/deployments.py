"""What `make prefect` serves: a table of flows, when each runs, and with what."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .environment import configure

configure()

# ruff: noqa: E402  prefect reads its settings when it is imported
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from .cached import HEAVY
from .ingest import ingest_flow
from .nightly import nightly_flow
from .prepare import features_flow
from .promote import promote_flow
from .retrain import retrain_flow
from .shadow import shadow_flow
from .watch import drift_flow

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

__all__ = ["SERVED", "Served", "limit_heavy_tasks", "to_deployments"]


@dataclass(frozen=True)
class Served:
    """One deployment.

    Attributes
    ----------
    cron : UTC; None: it runs when somebody, or the night, asks for it
    """

    flow: Flow[..., Any]
    name: str
    cron: str | None
    says: str


SERVED = (
    Served(ingest_flow, "hourly-ingest", "5 * * * *", "Raw data to the tapes of its days."),
    Served(features_flow, "hourly-features", "20 * * * *", "Features, candidates, labels and the feature store."),
    Served(
        nightly_flow,
        "nightly",
        "0 2 * * *",
        "The night: ingest, features, retrain with the matrix, drift, promote or roll back, in this order.",
    ),
    Served(
        shadow_flow, "nightly-shadow", "30 1 * * *", "The experiment matrix of a tape; a simulated one unless told."
    ),
    Served(retrain_flow, "retrain", None, "Every model made anew; the night does it, this is for by hand."),
    Served(drift_flow, "drift", None, "The day against the training span; the night does it, this is for by hand."),
    Served(promote_flow, "promote", None, "Promotion or rollback; the night does it after drift, this is for by hand."),
)
"""A deployment runs once at a time: a second run waits for the first."""


def to_deployments() -> list[RunnerDeployment]:
    """For ``prefect.serve``. Their schedules are facts about the flows, and are not paused with the process."""
    once = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
    return [
        served.flow.to_deployment(
            name=served.name,
            cron=served.cron,
            description=served.says,
            tags=["ofi-meta"],
            concurrency_limit=once,
        )
        for served in SERVED
    ]


def limit_heavy_tasks() -> int:
    """Have the server run no more heavy tasks at a time than this machine has CPUs, over all deployments."""
    most = len(os.sched_getaffinity(0))
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag=HEAVY, concurrency_limit=most)
    return most
