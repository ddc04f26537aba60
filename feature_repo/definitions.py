"""The Feast repository: entities, feature views and the services that training and serving name.

Source paths are relative; the offline store resolves them against :func:`feature_repo.store.feast_root` when it reads.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, Float64, Int64, String

from feature_repo.constants import SECOND_NS
from feature_repo.fields import CHANNELS, CONTEXT, FIELDS
from feature_repo.market_row import MARKET_VALUES
from feature_repo.partitions import PARTITIONED
from feature_repo.store import SERVICE, WINDOW_TTL_NS

__all__ = [
    "OBJECTS",
    "candidate",
    "candidate_context",
    "candidate_push",
    "meta_model_v1",
    "microwindow",
    "symbol",
    "window_push",
    "window_sequence",
]

# The keys are declared with the fields, so that these objects equal what the registry gives back.
_SYMBOL, _CANDIDATE = Field(name="symbol", dtype=String), Field(name="candidate_id", dtype=String)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TTL = timedelta(seconds=WINDOW_TTL_NS / SECOND_NS)


def _source(name: str) -> FileSource:
    return FileSource(
        name=f"{name}_source",
        path=name,
        timestamp_field="event_timestamp",
        file_format=ParquetFormat(),
        tags=PARTITIONED,
    )


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
        *(
            Field(name=f.name, dtype=Float32, description=f"{f.formula} [{f.unit}; {f.window}; {f.null_policy}]")
            for f in FIELDS
        ),
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
        Field(name="market", dtype=Array(Float64), description=f"of the newest row: {', '.join(MARKET_VALUES)}"),
    ],
    source=window_push,
    description="The T rows that end at the timestamp, and the market row of the newest one",
)

candidate_push = PushSource(name="candidate_push", batch_source=_source("candidate_context"))

candidate_context = FeatureView(
    name="candidate_context",
    entities=[candidate],
    ttl=_TTL,
    schema=[
        _CANDIDATE,
        Field(name="context_t_ns", dtype=Int64, description="t_k of the candidate, ns UTC"),
        *(Field(name=f.name, dtype=Float32, description=f"{f.formula} [{f.unit}]") for f in CONTEXT),
    ],
    source=candidate_push,
    description="What the stack and the calibrator also see",
)

meta_model_v1 = FeatureService(
    name=SERVICE,
    features=[window_sequence, candidate_context],
    description="All that a decision rests on: the window, its market row, and the candidate's context",
)

for _view in (microwindow, window_sequence, candidate_context):
    # Feast begins to materialise an unmaterialised view at now - ttl, which is after all that a tape of the past holds.
    _view.materialization_intervals = [(_EPOCH, _EPOCH)]

OBJECTS = (symbol, candidate, microwindow, window_sequence, candidate_context, meta_model_v1)
"""All of it, in the order in which Feast applies it."""
