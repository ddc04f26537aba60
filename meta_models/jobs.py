"""The fits of a training, each on its own rows: several processes at a time, and none of them twice.

One fit does not depend on another, uses one thread and has a seed of its own: how many run at a time changes nothing in
their results.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

from feature_repo.paths import atomic_path

from .baseline import fit_logistic, flatten
from .lit import TORCH_STATE, OptimConfig, fit_net
from .members import NetConfig, make_net
from .nets.linear import Linear, LinearConfig
from .normalise import Scale
from .predict import predict_logit

__all__ = ["Fitted", "Job", "Spread", "fits_through", "run_jobs", "workers_for"]

_ALONE = 6_000
"""Rows of all fits together below which a second process costs more than it brings: it starts in four seconds."""

Spread = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]], tuple[Any, ...]], Iterable[Any]]
"""Calls a function once for each tuple of arguments, followed by those that all calls share; results in that order."""
_SPREAD: ContextVar[Spread | None] = ContextVar("spread", default=None)


@contextmanager
def fits_through(spread: Spread) -> Iterator[None]:
    """Inside, fits are made by ``spread``, such as a cluster, where there are enough of them, with the same results."""
    before = _SPREAD.set(spread)
    try:
        yield
    finally:
        _SPREAD.reset(before)


@dataclass(frozen=True, slots=True)
class Job:
    """One net on some rows.

    Attributes
    ----------
    rows : int64 [n], positions to train on
    watch : int64 [m], positions to predict after each epoch; not among the rows
    keep : whether the weights of each epoch are wanted
    epochs : planned
    max_seconds : hard stop
    """

    net: NetConfig
    scale: Scale
    rows: np.ndarray
    watch: np.ndarray
    seed: int
    keep: bool
    epochs: int
    max_seconds: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a job leaves.

    Attributes
    ----------
    epochs : done
    watched : float32 [epochs, m], logits of the watched rows after each epoch
    states : weights after each epoch; empty unless kept
    """

    epochs: int
    stopped_by_time: bool
    watched: np.ndarray
    states: tuple[dict[str, Tensor], ...]

    def net(self, config: NetConfig, epoch: int) -> nn.Module:
        """The net as it was after that many epochs, in eval mode, without gradients."""
        with TORCH_STATE:  # its first weights are drawn
            net = make_net(config)
        net.load_state_dict(self.states[epoch - 1])
        return net.eval().requires_grad_(False)


def run_jobs(
    jobs: Sequence[Job],
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    optim: OptimConfig,
    *,
    workers: int | None = None,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Fitted]:
    """Fit every job, in the order given.

    Parameters
    ----------
    x : float32 [N, T, C], not normalised; y : 0/1 [N]; weight : float [N], uniqueness
    workers : processes at a time; None: one a CPU, or this one alone where there is little to do or a GPU. Inside
        :func:`fits_through` only None says something: that little is done here
    folder : finished fits and the state of running ones are kept there, and a fit that is there is not made again
    progress : gets the fraction done
    """
    tell = progress or (lambda _: None)
    sizes = np.array([len(job.rows) for job in jobs], float)
    shares, done = sizes / max(sizes.sum(), 1.0), 0.0
    keys = _keys(jobs, x, y, weight, optim) if folder is not None else [None] * len(jobs)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    places = [None if key is None else folder / key for key in keys]
    out: list[Fitted] = []
    spread = _SPREAD.get()
    few = sizes.sum() < _ALONE and workers is None
    if few or (spread is None and workers_for(workers, optim) == 1):
        for job, place, share in zip(jobs, places, shares, strict=True):

            def inside(fraction: float, begun: float = done, share: float = share) -> None:
                tell(begun + share * fraction)

            out.append(_once(job, place, x, y, weight, optim, inside))
            done += share
            tell(done)
        return out
    own, shared = list(zip(jobs, places, strict=True)), (x, y, weight, optim)
    if spread is not None:
        made = spread(_once, own, shared)
    else:
        # Not multiprocessing's own pool: that runs the caller's script again in each process.
        pool = Parallel(n_jobs=workers_for(workers, optim), return_as="generator")
        made = pool(delayed(_once)(*mine, *shared) for mine in own)
    for fitted, share in zip(made, shares, strict=True):
        out.append(fitted)
        done += share
        tell(done)
    return out


def workers_for(asked: int | None, optim: OptimConfig) -> int:
    """Fits at a time: as asked, or one a CPU; one where a GPU does the work."""
    gpu = optim.accelerator not in ("cpu", "auto") or (optim.accelerator == "auto" and torch.cuda.is_available())
    return asked or (1 if gpu else len(os.sched_getaffinity(0)))


def _once(
    job: Job,
    place: Path | None,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    optim: OptimConfig,
    progress: Callable[[float], None] | None = None,
) -> Fitted:
    """The fit that lies at ``place``, or else a fit, left there."""
    if place is not None and place.with_suffix(".pt").is_file():
        kept = torch.load(place.with_suffix(".pt"), weights_only=True)
        return Fitted(kept["epochs"], kept["stopped_by_time"], kept["watched"].numpy(), tuple(kept["states"]))
    fit = _linear if isinstance(job.net, LinearConfig) else _net
    fitted = fit(job, x, y, weight, optim, None if place is None else place.with_suffix(".ckpt"), progress)
    if place is not None:
        with atomic_path(place.with_suffix(".pt")) as beside:
            torch.save(
                {
                    "epochs": fitted.epochs,
                    "stopped_by_time": fitted.stopped_by_time,
                    "watched": torch.from_numpy(fitted.watched),
                    "states": list(fitted.states),
                },
                beside,
            )
        place.with_suffix(".ckpt").unlink(missing_ok=True)
    return fitted


def _net(
    job: Job,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    optim: OptimConfig,
    checkpoint: Path | None,
    progress: Callable[[float], None] | None,
) -> Fitted:
    result = fit_net(
        lambda: make_net(job.net),
        job.scale(x[job.rows]),
        y[job.rows],
        weight[job.rows],
        optim,
        seed=job.seed,
        max_seconds=job.max_seconds,
        epochs=job.epochs,
        watch=job.scale(x[job.watch]) if len(job.watch) else None,
        keep=job.keep,
        checkpoint=checkpoint,
        progress=progress,
    )
    return Fitted(result.epochs, result.stopped_by_time, result.watched, result.states)


def _linear(
    job: Job,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    _optim: OptimConfig,
    _checkpoint: Path | None,
    _progress: Callable[[float], None] | None,
) -> Fitted:
    """The logistic regression: exact, in one step, without a learning rate."""
    columns = flatten(job.scale(x[job.rows]))
    net = Linear.fitted(job.net, *fit_logistic(columns, y[job.rows], weight[job.rows]))
    watched = predict_logit(net, job.scale(x[job.watch])).astype(np.float32)[None, :]
    states = ({k: v.clone() for k, v in net.state_dict().items()},) if job.keep else ()
    return Fitted(1, False, watched, states)


def _keys(jobs: Sequence[Job], x: np.ndarray, y: np.ndarray, weight: np.ndarray, optim: OptimConfig) -> list[str]:
    """A name for each job that no other data, rows, shape, seed or version of torch has."""
    data = hashlib.blake2b(digest_size=16)
    for array in (x, y, weight):
        data.update(str((array.shape, array.dtype)).encode())
        data.update(np.ascontiguousarray(array))
    versions = (version("torch"), version("lightning"), version("scikit-learn"), version("ofi-meta"))
    common = data.hexdigest() + repr((optim, versions))
    keys = []
    for job in jobs:
        own = hashlib.blake2b((common + repr((job.net, job.seed, job.keep, job.epochs))).encode(), digest_size=16)
        for array in (job.scale.mean, job.scale.scale, job.rows, job.watch):
            own.update(np.ascontiguousarray(array))
        keys.append(own.hexdigest())
    return keys
