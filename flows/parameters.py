"""What a shadow run can be told; typed, so that the Prefect UI shows a form and a bad value is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from feature_repo.constants import MODEL

__all__ = ["ShadowParameters"]


class ShadowParameters(BaseModel):
    """Parameters of one run. Without a tape, the seeded simulator makes one, and every output says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tape: Path | None = Field(None, description="Recording, tape file or tape folder; none: a simulated tape")
    symbol: str | None = Field(None, description="Which symbol, where the folder holds several")
    out: Path = Field(Path("reports"), description="Folder of the reports")
    releases: Path = Field(Path("releases"), description="Folder of the bundles")
    models: Path = Field(Path("models/export"), description="Folder of the single nets")
    fee_tier: Literal["regular", "vip9"] | None = Field(None, description="Named explicitly, or a GO is not possible")
    seed: int = Field(MODEL.seed, ge=0, lt=2**31, description="Of the simulator and of the training")
    hours: float = Field(24.0, gt=0.05, le=24 * 14, description="Length of the simulated tape")
    edge: float = Field(1.0, ge=0, le=1, description="Of the simulated tape: 0, nothing is known beforehand; 1, a lot")
    mechanism: Literal["flow", "book"] = Field("flow", description="What gives the simulated edge away")
    rate: float | None = Field(
        None, ge=20, le=5000, description="Rows a second of the simulated tape; none: a quiet one"
    )
    venue: str | None = Field(None, description="Where the source does not tell it, as an npz does not")
    source: Literal["binance", "tardis", "hftbacktest"] | None = Field(None, description="Instead of detecting it")
    folds: int = Field(MODEL.folds, ge=1, le=20)
    max_candidates: int = Field(MODEL.max_candidates, ge=1, le=200_000)
    train_minutes: float = Field(MODEL.train_minutes, gt=0, le=24 * 60)
    model: Literal["tcn"] = "tcn"
    t: int = Field(MODEL.T, ge=20, le=100, description="Steps of a window")
