"""What can happen in the simulated market beside noise: a table of episodes and their stages that the kernel plays."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np

__all__ = ["COLUMNS", "EPISODES", "Episode", "Stage", "script"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One leg of an episode: a build-up at rest, then a push. Pairs are ranges of a uniform draw.

    Attributes
    ----------
    side : +1 with the episode's direction, -1 against it
    when : 0 always; +1 only if the episode is real, -1 only if it is not
    amp_bps : distance of the push
    build_s, dur_s : of the build-up and of the push
    tilt : log ratio by which makers thin the side ahead and thicken that behind; gone by half the push
    pulses : bursts of aggressive flow a second, by the thousand
    bias : share of small market orders that join the stage's side (negative: the other side)
    forced_eth : liquidated while the stage lasts
    passive : share of the push that makers do by pulling quotes instead of being hit
    informed : bursts keep the ground they win (1), or give it back like noise (0)
    pinned : one long burst that meets a refilled quote, so that the price stands still
    reach_min : the push first covers the way to the extreme of this many minutes (at most 16), where stops rest
    to_close : the push lasts until a few seconds after the close of a minute instead
    of_last : share of the distance of the last push, added to amp_bps
    chance : the episode ends here otherwise
    """

    side: float = 1.0
    when: float = 0.0
    amp_bps: tuple[float, float] = (0.0, 0.0)
    build_s: tuple[float, float] = (0.0, 0.0)
    dur_s: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0
    pulses: float = 0.0
    bias: float = 0.0
    forced_eth: tuple[float, float] = (0.0, 0.0)
    passive: float = 0.3
    informed: float = 0.0
    pinned: float = 0.0
    reach_min: float = 0.0
    to_close: float = 0.0
    of_last: tuple[float, float] = (0.0, 0.0)
    chance: float = 1.0


@dataclass(frozen=True, slots=True)
class Episode:
    """Stages in order.

    Attributes
    ----------
    per_day : how often; one that comes while another runs waits for its end
    real_share : how many are real when ``SimConfig.edge`` is 1
    handover : factor on the rate inside the hand-over windows of the sessions
    """

    name: str
    per_day: float
    real_share: float
    handover: float
    stages: tuple[Stage, ...]


_SIGNS = {"tilt": 0.9, "pulses": 100.0, "bias": 0.6}  # what a real push shows before and while it runs

EPISODES = (
    Episode(
        "metaorder",
        26.0,
        1.0,
        1.3,
        (
            Stage(when=1, amp_bps=(50, 85), build_s=(6, 17), dur_s=(30, 60), informed=1, **_SIGNS),
            Stage(-1, when=1, dur_s=(6, 25), pulses=150, chance=0.8),
            Stage(-1, when=1, of_last=(0.7, 1.1), build_s=(5, 11), dur_s=(30, 50), informed=1, passive=0.4, **_SIGNS),
            Stage(when=-1, build_s=(5, 17), dur_s=(0.1, 0.2), **_SIGNS),
        ),
    ),
    # The same signs for a few seconds, and nothing behind them.
    Episode("false_start", 110.0, 0.0, 1.0, (Stage(build_s=(2, 5), dur_s=(0.1, 0.2), **{**_SIGNS, "pulses": 250.0}),)),
    Episode(
        "liquidation",
        60.0,
        0.3,
        1.3,
        (
            Stage(
                when=1,
                amp_bps=(50, 90),
                build_s=(3, 7),
                dur_s=(25, 60),
                informed=1,
                forced_eth=(30, 80),
                **_SIGNS,
            ),
            Stage(
                when=-1,
                amp_bps=(6, 16),
                build_s=(2, 5),
                dur_s=(5, 12),
                forced_eth=(18, 55),
                passive=0.2,
                tilt=0.25,
                bias=0.4,
                pulses=250,
            ),
            Stage(-1, when=-1, amp_bps=(4, 12), build_s=(4, 8), dur_s=(15, 30), pulses=60, passive=0.7),
        ),
    ),
    Episode(
        "stop_run",
        150.0,
        0.4,
        1.0,
        (
            Stage(amp_bps=(6, 12), pulses=80, reach_min=16, to_close=1),
            Stage(-1, amp_bps=(14, 20), dur_s=(30, 42), passive=0.5),
            Stage(-1, when=1, amp_bps=(45, 80), build_s=(8, 17), dur_s=(35, 60), informed=1, **_SIGNS),
            Stage(-1, when=-1, amp_bps=(0, 8), build_s=(8, 12), dur_s=(20, 45), pulses=170, bias=0.15),
        ),
    ),
    Episode(
        "absorption",
        110.0,
        0.15,
        4.0,
        (
            Stage(-1, when=1, amp_bps=(2, 5), dur_s=(9, 16), tilt=-0.9, bias=-0.6, passive=1, reach_min=2),
            Stage(-1, when=-1, amp_bps=(2, 5), dur_s=(9, 16), bias=-0.5, passive=1, reach_min=2),
            Stage(when=1, dur_s=(0.8, 1.8), tilt=0.9, bias=0.7, passive=1, pinned=1),
            Stage(when=-1, dur_s=(0.8, 1.8), bias=0.7, passive=1, pinned=1),
            Stage(when=1, amp_bps=(45, 80), build_s=(3, 8), dur_s=(30, 60), informed=1, **_SIGNS),
            Stage(-1, when=-1, amp_bps=(2, 12), dur_s=(10, 30), passive=0.5),
        ),
    ),
    # Quotes drift off on little volume; now and then somebody brings the price back to where it was traded.
    Episode(
        "overshoot",
        100.0,
        0.2,
        1.0,
        (
            Stage(amp_bps=(28, 42), dur_s=(25, 45), passive=0.95),
            Stage(-1, when=1, of_last=(0.95, 1.3), build_s=(5, 12), dur_s=(30, 45), informed=1, **_SIGNS),
            Stage(-1, when=-1, dur_s=(15, 35), pulses=220),
        ),
    ),
)


def _columns() -> tuple[str, ...]:
    names: list[str] = []
    for f in fields(Stage):
        names += [f"{f.name}_lo", f"{f.name}_hi"] if "tuple" in str(f.type) else [f.name]
    return tuple(names)


COLUMNS = _columns()
"""Of the last axis of ``script``; a range takes two."""


def script(episodes: tuple[Episode, ...] = EPISODES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The table as the kernel reads it.

    Returns
    -------
    stages : float64 [E, S, len(COLUMNS)], unused rows 0
    lengths : int64 [E]
    rates : float64 [E, 3], (per_day, real_share, handover)
    """
    lengths = np.array([len(e.stages) for e in episodes], np.int64)
    stages = np.zeros((len(episodes), lengths.max(), len(COLUMNS)))
    for e, episode in enumerate(episodes):
        for s, stage in enumerate(episode.stages):
            flat: list[float] = []
            for value in astuple(stage):
                flat += list(value) if isinstance(value, tuple) else [value]
            stages[e, s] = flat
    rates = np.array([(e.per_day, e.real_share, e.handover) for e in episodes])
    return stages, lengths, rates
