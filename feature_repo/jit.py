"""Compiled kernels and where their machine code is kept.

numba stamps a cached kernel with the time and size of its own file only: an edit in a helper of another file would go
unseen. Here the cache folder is named by a hash of every source that ends up inside the kernel.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

__all__ = ["cache_folder", "kernel_jit"]


def kernel_jit(*sources: str | Path, nogil: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorator ``@njit(cache=True)`` whose cache is keyed by the text of ``sources``.

    Parameters
    ----------
    sources : the file of the kernel and the files of every jitted function it calls, directly or not
    nogil : other threads run meanwhile, for kernels that share nothing with them
    """
    folder = str(cache_folder(*sources))

    def decorate(function: Callable[..., Any]) -> Any:
        # numba fixes the folder when the function is decorated; other packages keep their own setting.
        before = config.CACHE_DIR
        config.CACHE_DIR = folder
        try:
            return numba.njit(cache=True, nogil=nogil)(function)
        finally:
            config.CACHE_DIR = before

    return decorate


def cache_folder(*sources: str | Path) -> Path:
    """An existing, writable folder for the machine code made from these sources.

    Below ``$NUMBA_CACHE_DIR``, else the user's cache folder, else (unwritable home) a private temporary folder.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(s) for s in sources):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    folder = _base() / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _base() -> Path:
    """The first of the places for machine code that can be written."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(given)] if given else []
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places.append(Path(home) / "ofi-meta" / "numba")
    # Cached kernels are pickles: one that somebody else could have written is never loaded.
    places.append(Path(tempfile.gettempdir()) / f"ofi-meta-{os.getuid()}")
    for place in places:
        if _ours(place):
            return place
    return Path(tempfile.mkdtemp(prefix="ofi-meta-"))


def _ours(place: Path) -> bool:
    """Whether the folder exists or can be made, is ours, and takes a file."""
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = place.stat()
        if facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            return False
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False
