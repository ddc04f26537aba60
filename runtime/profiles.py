"""The three strictness profiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from feature_repo.errors import InputError

from .candidate import Tier

__all__ = ["PROFILES", "VARIANTS", "Profile", "profile_of"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Thresholds of one arm."""

    tier: Tier  # takes candidates of this tier and of the stricter ones
    ofi_z_min: float
    cvd_z_min: float
    thin_spread: float  # x the rolling median spread
    max_slip_bps: float
    min_tick_sl: int
    tau: float


PROFILES = {
    "A": Profile(Tier.A, 2.3, 1.6, 1.4, 7.0, 6, 0.70),
    "B": Profile(Tier.B, 2.1, 1.4, 1.6, 8.0, 6, 0.65),
    "C": Profile(Tier.C, 1.9, 1.3, 1.6, 8.0, 5, 0.60),
}
"""A strict, B balanced, C loose."""

VARIANTS = {"C6": replace(PROFILES["C"], min_tick_sl=6)}
"""Profiles with one rule changed, named by the letter they come from, whose tau is theirs too. C alone may stop closer
than six ticks, so it is also run at six."""


def profile_of(name: str) -> Profile:
    """A profile or a variant by its name.

    Raises
    ------
    InputError
        When there is none.
    """
    found = (PROFILES | VARIANTS).get(name)
    if found is None:
        raise InputError(f"the profile {name!r}", f"one of {', '.join(PROFILES | VARIANTS)}", "Give one of these")
    return found
