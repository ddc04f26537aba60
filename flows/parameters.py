"""What a shadow run can be told; typed, so that the Prefect UI shows a form and a bad value is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from feature_repo.constants import MODEL
from feature_repo.errors import InputError
from feature_repo.instruments import FEE_TIERS

__all__ = ["ShadowParameters", "as_options", "check_folders"]


class ShadowParameters(BaseModel):
    """Parameters of one run. Without a tape, the seeded simulator makes one, and every output says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tape: Path | None = Field(None, description="Recording, tape file or tape folder; none: a simulated tape")
    symbol: str | None = Field(None, description="Which symbol, where the folder holds several")
    candidates: Path | None = Field(
        None, description="Entries of a strategy of your own, CSV or Parquet; none: the built-in signals"
    )
    out: Path = Field(Path("reports"), description="Folder of the reports")
    releases: Path = Field(Path("releases"), description="Folder of the bundles")
    models: Path = Field(Path("models/export"), description="Folder of the single nets")
    fee_tier: str | None = Field(
        None, description="A tier of the tape's venue; named explicitly, or a GO is not possible"
    )
    order_latency: Literal["constant", "tape"] = Field(
        "constant", description="Of the replay's orders; tape: as late as the tape's own feed"
    )
    seed: int = Field(MODEL.seed, ge=0, lt=2**31, description="Of the simulator and of the training")
    hours: float = Field(24.0, gt=0.05, le=24 * 62, description="Length of the simulated tape")
    edge: float = Field(1.0, ge=0, le=1, description="Of the simulated tape: 0, nothing is known beforehand; 1, a lot")
    mechanism: Literal["flow", "book"] = Field("flow", description="What gives the simulated edge away")
    rate: float | None = Field(
        None, ge=20, le=5000, description="Rows a second of the simulated tape; none: a quiet one"
    )
    venue: str | None = Field(None, description="Where the source does not tell it, as an npz does not")
    source: Literal["binance", "tardis", "hftbacktest"] | None = Field(None, description="Instead of detecting it")
    folds: int = Field(MODEL.folds, ge=1, le=20)
    max_candidates: int = Field(MODEL.max_candidates, ge=1, le=500_000)
    draw: Literal["latest", "even"] = Field(
        "latest", description="Of too many candidates: the latest, or as many from the whole tape"
    )
    train_minutes: float = Field(MODEL.train_minutes, gt=0, le=24 * 60)
    rolling: bool = Field(False, description="Train on a span of one length instead of on everything before")
    model: Literal["tcn", "transformer", "lstm", "stack", "logistic"] = Field(
        "tcn", description="One net, or all three and what they make up together"
    )
    tau: Literal["fitted", "profile"] = Field(
        "fitted", description="Threshold on P: from what the training span's labels paid, or the profile's own"
    )
    t: int = Field(MODEL.T, ge=20, le=100, description="Steps of a window")

    @field_validator("fee_tier")
    @classmethod
    def _known_tier(cls, name: str | None, info: ValidationInfo) -> str | None:
        """Of a recording the venue is known only once it is read; until then the tier of any venue will do."""
        venues = FEE_TIERS.values() if info.data.get("tape") else [FEE_TIERS["simulated"]]
        names = list(dict.fromkeys(tier.name for tiers in venues for tier in tiers))
        if name is not None and name not in names:
            raise ValueError(f"one of: {', '.join(names)}")
        return name


@contextmanager
def as_options() -> Iterator[None]:
    """The first of the values that pydantic does not take, as a command says it: InputError for ValidationError."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--{'-'.join(map(str, first['loc'])).replace('_', '-')} {first['input']!r}",
            first["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
            "Give another value",
        ) from None


def check_folders(*folders: Path) -> None:
    """Refuse a file where a folder of outputs is wanted, before minutes of work.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    for place in folders:
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file", "a folder that can be written", "Give another folder")
