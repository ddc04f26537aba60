"""Which markets the scheduled flows look after, and which of their days; typed, so that the UI shows a form."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from feature_repo.constants import MODEL
from feature_repo.instruments import SIMULATED_SYMBOL

__all__ = ["SIMULATED_START", "DayParameters", "Market"]

SIMULATED_START = date(2026, 1, 5)
"""First day of every simulated market."""


class Market(BaseModel):
    """One contract and where its raw data comes from. Without a source it is SIMULATED, and every output says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path | None = Field(
        None, description="Folder of raw files, such as data/live/binance_usdm/ETHUSDT/raw; none: a simulated market"
    )
    symbol: str | None = Field(None, description="Which symbol, where the folder holds several")
    venue: str | None = Field(None, description="Where the source does not tell it, as an npz does not")
    seed: int = Field(MODEL.seed, ge=0, lt=2**31, description="Of a simulated market")
    edge: float = Field(1.0, ge=0, le=1, description="Of a simulated market: 0, nothing is known beforehand; 1, a lot")
    mechanism: Literal["flow", "book"] = Field("flow", description="What gives the simulated edge away")
    rate: float | None = Field(None, ge=20, le=5000, description="Rows a second of a simulated market")

    @property
    def name(self) -> str:
        """For people, before its files have been read."""
        return self.symbol or (SIMULATED_SYMBOL if self.source is None else self.source.name)


class DayParameters(BaseModel):
    """Markets and the span of UTC days that a run looks at."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    markets: list[Market] = Field(default_factory=lambda: [Market()], min_length=1, description="One entry a contract")
    first_day: date | None = Field(None, description="UTC; none: the first that the source has")
    last_day: date | None = Field(None, description="UTC; none: the last that the source has")
    last_days: int = Field(30, ge=1, le=366, description="At most so many, up to the last one")
    simulated_days: int = Field(3, ge=1, le=31, description="How many days a simulated market has had so far")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.first_day is not None and self.last_day is not None and self.first_day > self.last_day:
            raise ValueError(f"first_day {self.first_day} is after last_day {self.last_day}")
        if sum(market.source is None for market in self.markets) > 1:  # their days have one place
            raise ValueError("one simulated market at the most, each other one with a source")
        return self

    def chosen(self, days: list[date]) -> list[date]:
        """Those of a source's days that are meant, in order."""
        kept = [
            d
            for d in sorted(days)
            if (self.first_day is None or d >= self.first_day) and (self.last_day is None or d <= self.last_day)
        ]
        return kept[-self.last_days :]

    def simulated(self) -> list[date]:
        """The days of a simulated market."""
        return [SIMULATED_START + timedelta(days=k) for k in range(self.simulated_days)]
