"""The Feast repository: entities, feature views and the services that training and serving name.

Source paths are relative; the offline store resolves them against :func:`feature_repo.store.feast_root` when it reads.
"""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, Float32, Float64, Int64, String

from feature_repo.constants import SECOND_NS
from feature_repo.fields import CHANNELS, CTX_NAMES, FIELDS, MARKET_DTYPE
from feature_repo.store import GATE_SERVICE, SERVICE, WINDOW_TTL_NS

__all__ = [
    "OBJECTS",
    "candidate",
    "candidate_context",
    "gate_v1",
    "meta_model_v1",
    "microwindow",
    "symbol",
    "window_push",
    "window_sequence",
]

# The keys are declared with the fields, so that these objects equal what the registry gives back.
_SYMBOL, _CANDIDATE = Field(name="symbol", dtype=String), Field(name="candidate_id", dtype=String)
_TTL = timedelta(seconds=WINDOW_TTL_NS / SECOND_NS)


def _source(name: str) -> FileSource:
    return FileSource(name=f"{name}_source", path=name, timestamp_field="event_timestamp", file_format=ParquetFormat())


symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING, description="Instrument")
candidate = Entity(
    name="candidate",
    join_keys=["candidate_id"],
    value_type=ValueType.STRING,
    description="One entry the strategy would take",
)

microwindow = FeatureView(
    name="microwindow",
    entities=[symbol],
    ttl=_TTL,
    schema=[
        _SYMBOL,
        *(Field(name=f.name, dtype=Float32, description=f"{f.unit}; {f.window}; {f.source}") for f in FIELDS),
        Field(name="t_ns", dtype=Int64, description="t_k, ns UTC"),
    ],
    source=_source("microwindow"),
    description="One 100 ms row, knowable at its timestamp",
)

window_push = PushSource(name="window_push", batch_source=_source("window_sequence"))

window_sequence = FeatureView(
    name="window_sequence",
    entities=[symbol],
    ttl=_TTL,
    schema=[
        _SYMBOL,
        Field(name="t_ns", dtype=Int64, description="t_k of the newest row, ns UTC; the age is judged by it"),
        Field(name="x", dtype=Array(Float32), description=f"[T, {len(CHANNELS)}] flattened by rows, unaligned"),
        *(
            Field(name=name, dtype=Bool if MARKET_DTYPE[name].kind == "b" else Float64)
            for name in MARKET_DTYPE.names
            if name != "t_ns"
        ),
    ],
    source=window_push,
    description="The T rows that end at the timestamp, and the market row of the newest one",
)

candidate_context = FeatureView(
    name="candidate_context",
    entities=[candidate],
    ttl=_TTL,
    schema=[
        _CANDIDATE,
        Field(name="context_t_ns", dtype=Int64, description="t_k of the candidate, ns UTC"),
        *(Field(name=name, dtype=Float32) for name in CTX_NAMES),
    ],
    source=_source("candidate_context"),
    description="What the stack and the calibrator also see",
)

meta_model_v1 = FeatureService(
    name=SERVICE,
    features=[window_sequence[["t_ns", "x"]], candidate_context],
    description="The two inputs of the model",
)
gate_v1 = FeatureService(
    name=GATE_SERVICE,
    features=[window_sequence],
    description="What one decision reads; the candidate's context is made from it and the candidate",
)

OBJECTS = (symbol, candidate, microwindow, window_sequence, candidate_context, meta_model_v1, gate_v1)
"""All of it, in the order in which Feast applies it."""
