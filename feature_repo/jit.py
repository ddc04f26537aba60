"""Compiled kernels and where their machine code is kept.

numba stamps a cached kernel with the time and size of its own file only: an edit in a helper of another file would go
unseen. Here the cache folder is named by a hash of the file and of all that it imports from this project, directly or
not: helpers and constants end up inside the kernel.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

__all__ = ["cache_folder", "kernel_jit", "sources_of"]

_ROOT = Path(__file__).resolve().parents[1]


def kernel_jit(file: str, *, nogil: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Decorator ``@njit(cache=True)`` whose cache is keyed by the text of the sources.

    Parameters
    ----------
    file : of the kernel, ``__file__``
    nogil : other threads run meanwhile, for kernels that share nothing with them
    """
    folder = str(cache_folder(*sources_of(Path(file))))

    def decorate(function: Callable[..., Any]) -> Any:
        # numba fixes the folder when the function is decorated; other packages keep their own setting.
        before = config.CACHE_DIR
        config.CACHE_DIR = folder
        try:
            made = numba.njit(cache=True, nogil=nogil)(function)
        finally:
            config.CACHE_DIR = before
        made._cache.save_overload = _one_at_a_time(made._cache.save_overload, Path(folder) / ".lock")
        return made

    return decorate


def _one_at_a_time(save: Callable[..., None], lock: Path) -> Callable[..., None]:
    """numba numbers the files of a function's signatures by an index that it reads, extends and writes back: of two
    processes that do so at once, one would later find the other's machine code under its signature."""

    def locked(*arguments: Any) -> None:
        with lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            save(*arguments)

    return locked


@cache
def sources_of(file: Path) -> frozenset[Path]:
    """A file of this project and those that it imports, directly or not."""
    seen: set[Path] = set()
    left = [file.resolve()]
    while left:
        source = left.pop()
        if source not in seen:
            seen.add(source)
            left += _imports(source)
    return frozenset(seen)


@cache
def _imports(source: Path) -> list[Path]:
    """Files that one names in ``from ... import ...``, where they are this project's."""
    out = []
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            folder = source.parents[node.level - 1] if node.level else _ROOT
            module = folder.joinpath(*(node.module or "").split("."))
            named = [module.with_suffix(".py"), *(module / f"{alias.name}.py" for alias in node.names)]
            out += [path for path in named if path.is_file()]
    return out


def cache_folder(*sources: str | Path) -> Path:
    """An existing, writable folder for the machine code made from these sources.

    Below ``$NUMBA_CACHE_DIR``, else the user's cache folder, else (unwritable home) a private temporary folder.
    """
    digest = hashlib.sha256()
    for source in sorted(map(Path, sources)):
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
