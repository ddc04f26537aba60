"""Where the Feast repository keeps its files, and how it is opened."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .constants import SECOND_NS
from .errors import InputError
from .paths import data_root

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = [
    "APPLY",
    "CONFIG_VARIABLE",
    "REPO_DIR",
    "SERVICE",
    "WINDOW_TTL_NS",
    "StoreError",
    "config_file",
    "feast_root",
    "open_store",
]

REPO_DIR = Path(__file__).resolve().parent
SERVICE = "meta_model_v1"
"""FeatureService that training and serving both name."""
WINDOW_TTL_NS = 1 * SECOND_NS
"""A row older than this is missing, offline (Feast's ttl) and online (our reader; Feast enforces no ttl there)."""
CONFIG_VARIABLE = "FEAST_FS_YAML_FILE_PATH"
"""Feast's own variable: the shell, the feature process and the gate follow the same choice of a store."""
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


def config_file() -> Path:
    """Feast's configuration: ``$FEAST_FS_YAML_FILE_PATH`` where set, as for the ``feast`` command, else SQLite's."""
    return Path(os.environ.get(CONFIG_VARIABLE) or REPO_DIR / "feature_store.yaml").absolute()


def open_store(*, must_exist: bool = True) -> FeatureStore:
    """Open the repository with the configuration that the ``feast`` command uses, see :func:`config_file`.

    Parameters
    ----------
    must_exist : refuse a repository that was never applied

    Raises
    ------
    StoreError
        When the configuration or the registry is missing or unreadable.
    """
    _import_feast()
    from feast import FeatureStore
    from feast.errors import FeastError
    from feast.repo_config import FeastConfigError
    from google.protobuf.message import DecodeError
    from yaml import YAMLError

    config = config_file()
    try:
        store = FeatureStore(repo_path=str(REPO_DIR), fs_yaml_file=config)
        registry = feast_root() / store.config.registry.path
    except (OSError, UnicodeDecodeError, YAMLError, FeastConfigError, FeastError) as error:
        raise StoreError(
            f"the Feast configuration {config} cannot be used ({str(error).splitlines()[0]})",
            "feature_store.yaml or feature_store.redis.yaml of feature_repo",
            f"Set {CONFIG_VARIABLE} to one of them, or unset it",
        ) from error
    if not must_exist:
        return store
    if not registry.is_file():
        raise StoreError(f"no feature registry at {registry}", "the registry of an applied repository", APPLY)
    try:
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
