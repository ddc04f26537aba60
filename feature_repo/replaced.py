"""What is replaced whole: by one writer at a time, and in one piece even if that writer is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .errors import InputError

__all__ = ["locked", "replaced_folder", "told"]


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target`` that takes its place when the block ends well, and vanishes when it does not.

    A second writer of the same target waits for the first. Everything beside the target is hidden: the lock, the new
    folder and, for an instant, the old one. What a killed writer left there is removed by the next one; if it was
    killed in that very instant, the next one puts the old folder back first. A reader in that instant finds no folder.

    Raises
    ------
    InputError
        Where nothing can be written.
    """
    new, old, gone = (target.with_name(f".{target.name}.{part}") for part in ("new", "old", "gone"))
    with ExitStack() as held:
        with told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(target.with_name(f".{target.name}.lock")))
            _tidy(target, new, old, gone)
            new.mkdir()
        try:
            yield new
            with told(target):
                if target.exists():
                    os.rename(target, old)
                os.rename(new, target)
        finally:
            _tidy(target, new, old, gone)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say of a failure to write what could not be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error})", "a folder with free space", "Give another place"
        ) from error


def _tidy(target: Path, new: Path, old: Path, gone: Path) -> None:
    """Back to the target alone, whatever a writer left; harmless at any moment between two of its steps."""
    if old.exists():
        if target.exists():
            # First under another name: half of an old folder must never be put back.
            if gone.exists():
                shutil.rmtree(gone)
            os.rename(old, gone)
        else:
            os.rename(old, target)
    for left in (gone, new):
        if left.exists():
            shutil.rmtree(left)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file that exists only while somebody holds it, or was killed with it; wait for whoever does."""
    handle = _acquire(path)
    try:
        yield
    finally:
        # Removed while still held: whoever waits for it sees that the name is gone, and starts again.
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            there = os.stat(path)
        except FileNotFoundError:
            os.close(handle)
            continue
        except BaseException:
            os.close(handle)
            raise
        mine = os.fstat(handle)
        if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
            return handle
        os.close(handle)
