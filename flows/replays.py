"""A tape ready to be replayed again and again: its files, settlements and blind spans."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from feature_repo.constants import ORDER, OrderDefaults
from feature_repo.events import FUNDING
from feature_repo.instruments import Instrument
from feature_repo.market.hft_files import HftFiles, write_hft
from feature_repo.market.tape import StoredTape
from feature_repo.paths import data_root
from runtime.funding import settlements
from runtime.shadow import blind_spans, replay
from runtime.shadow_account import Replayed
from runtime.shadow_latency import feed_latency

__all__ = ["Replays"]


@dataclass(frozen=True)
class Replays:
    """Everything a replay of this tape needs, whatever is replayed."""

    files: HftFiles
    instrument: Instrument
    funding: np.ndarray
    blind: np.ndarray
    latency: np.ndarray | None  # None: constant

    @classmethod
    @contextmanager
    def of(
        cls,
        tape: StoredTape,
        quotes: np.ndarray,
        order_latency: str = "constant",
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Self]:
        """The replays of a tape, whose files are there until the block ends.

        Parameters
        ----------
        quotes : QUOTE_DTYPE [M] of the same tape
        order_latency : "constant", or "tape": as long as the feed took at that moment
        """
        data_root().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".replay.", dir=data_root()) as folder:
            files = write_hft(tape, Path(folder), progress=progress)
            latency = feed_latency(files) if order_latency == "tape" else None
            yield cls(files, tape.instrument, settlements(tape.of_kind(FUNDING)), blind_spans(quotes), latency)

    def __call__(
        self,
        orders: np.ndarray,
        allowed: np.ndarray,
        exit_: str,
        *,
        every: bool,
        order: OrderDefaults | None = None,
        latency: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Replayed:
        """As ``runtime.shadow.replay``; with neither ``order`` nor ``latency`` as the run was told to."""
        usual = order is None and latency is None
        return replay(
            self.files,
            self.instrument,
            orders,
            allowed=allowed,
            every=every,
            exit=exit_,
            funding=self.funding,
            blind=self.blind,
            order=ORDER if order is None else order,
            latency=self.latency if usual else latency,
            progress=progress,
        )
