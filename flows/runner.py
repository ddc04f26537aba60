"""Where the work is done: in threads and processes of this machine, or on the workers of a Dask cluster.

``RUNNER=dask`` asks for Dask. ``SCHEDULER=tcp://host:port`` names a running cluster; without it two worker processes
are started on this machine for as long as they are needed. What comes out is the same, bit for bit.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from feature_repo.errors import InputError

if TYPE_CHECKING:
    from distributed import Client
    from prefect.task_runners import TaskRunner

__all__ = ["LOCAL_CLUSTER", "Place", "fits_on_cluster", "runner"]

LOCAL_CLUSTER = {
    "n_workers": 2,
    "threads_per_worker": 1,  # a fit and a symbol's day each keep one core busy
    "processes": True,
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # its page of figures: any free port, not always one
    "host": "127.0.0.1",
}
"""Of `distributed.LocalCluster`: nothing of it can be reached from another machine."""

_ADDRESS = re.compile(r"(tcp|tls)://[^\s/:]+:\d{1,5}")
_CONNECT_S = 20
_TRIES = 3
"""How often data that all workers have lost are sent again."""


@dataclass(frozen=True)
class Place:
    """Where the work is done.

    Attributes
    ----------
    dask : on a Dask cluster
    scheduler : its address; None: a cluster of this machine's own, see ``LOCAL_CLUSTER``
    """

    dask: bool
    scheduler: str | None = None

    @classmethod
    def asked(cls) -> Self:
        """As ``RUNNER`` and ``SCHEDULER`` say; empty is the same as not set.

        Raises
        ------
        InputError
            When one of them has another value than these, or there is a scheduler without Dask.
        """
        name, address = os.environ.get("RUNNER", "").strip(), os.environ.get("SCHEDULER", "").strip()
        if name not in ("", "local", "dask"):
            raise InputError(f"RUNNER={name}", "local or dask", "Leave it out to work on this machine")
        if address and name != "dask":
            raise InputError(f"SCHEDULER={address} without RUNNER=dask", "both or none", "Add RUNNER=dask")
        if address and not _ADDRESS.fullmatch(address):
            raise InputError(
                f"SCHEDULER={address}",
                "tcp://host:port",
                "Give the address that `dask scheduler` prints",
            )
        return cls(name == "dask", address or None)


def runner() -> TaskRunner[Any]:
    """The Prefect task runner of a flow, for ``@flow(task_runner=runner())`` or ``flow.with_options``.

    Returns
    -------
    TaskRunner
        Threads of this process, one a CPU; or a ``DaskTaskRunner``.

    Raises
    ------
    InputError
        As `Place.asked`.
    """
    place = Place.asked()
    if place.dask:
        from prefect_dask import DaskTaskRunner

        _quiet_dask()
        if place.scheduler is not None:
            return DaskTaskRunner(address=place.scheduler, client_kwargs={"timeout": _CONNECT_S})
        return DaskTaskRunner(cluster_kwargs=LOCAL_CLUSTER)
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=len(os.sched_getaffinity(0)))  # its default is a thread a task


@contextmanager
def fits_on_cluster() -> Iterator[None]:
    """Inside, the fits of a training (nets x inner folds x spans) go to the cluster; without one nothing changes.

    The cluster is, in this order: the one on whose worker this is called, the one of the flow that this is a part of,
    the one at ``SCHEDULER``, one that is started for it. Its workers need the same versions of everything, and see the
    same data folder if a training that was stopped is to go on where it was.

    Raises
    ------
    InputError
        As `Place.asked`, or when the cluster cannot be reached.
    """
    place = Place.asked()
    if not place.dask and not _on_a_worker():
        yield
        return
    from meta_models.jobs import fits_through

    with _client(place) as client, fits_through(partial(_spread, client)):
        yield


def _quiet_dask() -> None:
    """It tells of each connection; its import has set its own level."""
    logging.getLogger("distributed").setLevel(logging.WARNING)


def _on_a_worker() -> bool:
    if "distributed.worker" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


@contextmanager
def _client(place: Place) -> Iterator[Client]:
    from distributed import Client, LocalCluster, worker_client

    _quiet_dask()
    if _on_a_worker():
        with worker_client() as client:  # gives its place up while it waits: the fits may need it
            yield client
        return
    known = _flows_client()
    if known is not None:
        yield known
    elif place.scheduler is not None:
        try:
            client = Client(place.scheduler, timeout=_CONNECT_S, set_as_default=False)
        except OSError as error:
            raise InputError(
                f"no answer from SCHEDULER={place.scheduler} within {_CONNECT_S} s",
                "a running Dask scheduler of the same version",
                "Start one with `dask scheduler`, or leave SCHEDULER out",
            ) from error
        with client:
            yield client
    else:
        with LocalCluster(**LOCAL_CLUSTER) as cluster, Client(cluster, set_as_default=False) as client:
            yield client


def _flows_client() -> Client | None:
    """Of the flow run that this is called in, if it runs on Dask."""
    if "prefect_dask" not in sys.modules:
        return None
    from prefect.context import FlowRunContext
    from prefect_dask import DaskTaskRunner

    run = FlowRunContext.get()
    return run.task_runner.client if run is not None and isinstance(run.task_runner, DaskTaskRunner) else None


def _spread(
    client: Client, call: Callable[..., Any], own: Sequence[tuple[Any, ...]], shared: tuple[Any, ...]
) -> Iterator[Any]:
    """See `meta_models.jobs.Spread`. What a killed worker had is done again by another, by Dask itself."""
    from distributed import CancelledError

    done = 0
    for left in reversed(range(_TRIES)):
        try:
            for result in _results(client, call, own[done:], shared):
                done += 1
                yield result
            return
        except CancelledError:  # every worker that held the shared arrays is gone, and they are not made by a task
            if left == 0:
                raise


def _results(
    client: Client, call: Callable[..., Any], own: Sequence[tuple[Any, ...]], shared: tuple[Any, ...]
) -> Iterator[Any]:
    from distributed import TimeoutError as DaskTimeoutError

    try:
        client.wait_for_workers(1, timeout=_CONNECT_S)
    except DaskTimeoutError as error:
        raise InputError(
            f"a Dask scheduler without a worker for {_CONNECT_S} s",
            "at least one",
            "Start one with `dask worker tcp://host:port --nthreads 1`",
        ) from error
    held = client.scatter(list(shared), broadcast=True, hash=False)  # once, to every worker: one of them may die
    run = uuid.uuid4().hex[:8]
    futures = [client.submit(call, *mine, *held, key=f"fit-{run}-{k}", pure=False) for k, mine in enumerate(own)]
    try:
        for future in futures:
            yield future.result()
    finally:
        client.cancel([future for future in futures if not future.done()])  # nobody waits for them any more
