"""Where the Feast repository keeps its files, and how it is opened."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .constants import SECOND_NS
from .errors import InputError
from .paths import data_root

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = ["APPLY", "GATE_SERVICE", "REPO_DIR", "SERVICE", "WINDOW_TTL_NS", "StoreError", "feast_root", "open_store"]

REPO_DIR = Path(__file__).resolve().parent
SERVICE = "meta_model_v1"
"""FeatureService of the model's two inputs."""
GATE_SERVICE = "gate_v1"
"""FeatureService of one decision: the window and the market row that belongs to it."""
WINDOW_TTL_NS = 1 * SECOND_NS
"""A row older than this is missing, offline (Feast's ttl) and online (our reader; Feast enforces no ttl there)."""
APPLY = "Run `feast -c feature_repo apply`"


class StoreError(InputError):
    """The feature store cannot answer: something of it is missing, unreadable or of another shape."""


def feast_root() -> Path:
    """Folder of the registry, the online database and the Parquet sources."""
    root = data_root()
    if root.is_relative_to(REPO_DIR):
        # `feast apply` makes this folder the working directory before it reads the definitions; data never lives here.
        root = REPO_DIR.parent / root.relative_to(REPO_DIR)
    return root / "feast"


def open_store(*, must_exist: bool = True) -> FeatureStore:
    """Open the repository with the configuration that the ``feast`` command uses.

    Parameters
    ----------
    must_exist : refuse a repository that was never applied

    Raises
    ------
    StoreError
        When the registry is missing or unreadable.
    """
    registry = feast_root() / "registry.db"
    if must_exist and not registry.is_file():
        raise StoreError(f"no feature registry at {registry}", "the registry of an applied repository", APPLY)
    _import_feast()
    from feast import FeatureStore
    from google.protobuf.message import DecodeError

    try:
        store = FeatureStore(repo_path=str(REPO_DIR))
        if must_exist:
            store.registry.proto()
    except (OSError, DecodeError) as error:
        raise StoreError(
            f"the feature registry at {registry} cannot be read ({error})",
            "the registry of an applied repository",
            f"Delete it. {APPLY}",
        ) from error
    return store


def _import_feast() -> None:
    """Import feast without the torch that it would load: the gate's process never holds a training library."""
    if "feast" in sys.modules or "torch" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # `import torch` now fails, which feast allows for
    try:
        import feast  # noqa: F401
    finally:
        del sys.modules["torch"]
