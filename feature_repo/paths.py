"""Where data lives. Outputs are never part of the package: everything hangs below one folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

__all__ = ["atomic_path", "data_root"]


def data_root() -> Path:
    """Folder of tapes, features, labels and the feature store: ``$OFI_META_DATA``; ``data`` where it is unset or empty.

    Raises
    ------
    InputError
        When it is the address of an object store: as a path it would quietly become a folder of that name here.
    """
    given = os.environ.get("OFI_META_DATA") or "data"
    if "://" in given:
        raise InputError(f"OFI_META_DATA={given}", "a folder", "Mount the store, see docs/scaling.md, or copy from it")
    return Path(given).resolve()


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Write beside ``target``, then rename: a reader sees the old file or the whole new one, never half of it."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        os.chmod(beside, 0o644)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
