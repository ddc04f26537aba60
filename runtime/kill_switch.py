"""A file that stops everything: while it is there, no gate that knows of it allows anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from feature_repo.errors import InputError

__all__ = ["KILL_NAME", "KillSwitch", "throw"]

KILL_NAME = "KILL"
"""Beside the releases: ``touch releases/KILL`` stops, ``rm releases/KILL`` lets go on."""


class KillSwitch:
    """Asked at every decision; it costs two system calls and keeps nothing in mind.

    Parameters
    ----------
    path : the file; its content does not matter, and a link that leads nowhere counts, too

    Raises
    ------
    InputError
        When its folder is not there: a switch that nobody can throw is none.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = os.fspath(self.path)
        self._inside = os.path.join(self.path.parent, ".")  # there only in a folder that may be searched
        if not self.path.parent.is_dir():
            raise InputError(
                f"the kill switch {self.path} in a folder that does not exist",
                "a file in a folder that is there, such as releases/KILL",
                "Make the folder, or give another path",
            )

    def is_on(self) -> bool:
        """Whether the file is there, or cannot be looked for: fail closed."""
        try:
            os.lstat(self._file)
        except FileNotFoundError:
            return not os.access(self._inside, os.F_OK)
        except OSError:
            return True
        return True


def throw(path: Path | str, said: Mapping[str, object]) -> OSError | None:
    """Make the file; what it says is for a person. Never raises, and leaves one that is there as it is.

    Returns
    -------
    OSError or None
        Why there is none now.
    """
    try:
        with suppress(FileExistsError), Path(path).open("x", encoding="utf-8") as file, suppress(OSError):
            file.write(json.dumps(said) + "\n")  # its being there is what counts
            file.flush()
    except OSError as e:
        return e
    return None
