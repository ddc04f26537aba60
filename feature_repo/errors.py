"""The one exception a command turns into a sentence instead of a traceback, and the words of any other."""

from __future__ import annotations

import traceback

__all__ = ["InputError", "words_of"]


class InputError(ValueError):
    """Something a person gave us cannot be used.

    The message is one sentence (or two) that says what was got, what is accepted and what to do. Commands print it and
    leave with a non-zero exit; library callers may catch it as a ``ValueError``.

    Parameters
    ----------
    got : str
        What was found, with the file, line or field it was found in.
    accepts : str
        What would have been accepted.
    do : str
        What the reader can do about it.
    """

    def __init__(self, got: str, accepts: str, do: str) -> None:
        self.got, self.accepts, self.do = got, accepts, do
        super().__init__(f"{got}. Expected {accepts}. {do}.")


def words_of(error: BaseException) -> str:
    """Type and message of an exception; its type alone where its message raises one more."""
    try:
        return "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # whoever tells of a failure must not fail by it
        return type(error).__name__
