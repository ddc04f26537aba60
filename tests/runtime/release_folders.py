"""Releases for the tests of the roll-out: two models with buckets, as training leaves them."""

from __future__ import annotations

from pathlib import Path

from runtime.buckets import Bucket

from .gate_builders import buckets_csv, bundle_folder

PAYS, NOT, PARENT = (
    Bucket.parse(f"B/momentum/{states}/other") for states in ("high/mid/mid", "low/mid/mid", "all/all/all")
)
EVIDENCE = buckets_csv({str(PAYS): 0.8, str(NOT): 0.0, str(PARENT): 0.2})


def candidates(root: Path, *tags: str, buckets: str = EVIDENCE) -> Path:
    """A folder of candidates; the later, the higher their P."""
    for k, tag in enumerate(tags or ("one", "two")):
        bundle_folder(root, tag, of={"rollout": None}, buckets=buckets, bias=2.0 + k)
    return root
