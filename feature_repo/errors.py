"""The one exception a command turns into a sentence instead of a traceback."""

from __future__ import annotations

__all__ = ["InputError"]


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
