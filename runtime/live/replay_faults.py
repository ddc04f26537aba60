"""What a replay server is told to do wrong: a test subclasses ``Faults`` and overrides one method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Action", "Faults", "Hang", "Hangup", "Pause", "RestFault", "Skip"]


@dataclass(frozen=True)
class Pause:
    """Stand still; lines that become due meanwhile follow in a burst, as after a stalled network."""

    seconds: float


@dataclass(frozen=True)
class Hangup:
    """Cut all client connections off without a closing handshake, once what was sent has left this process.

    Playing goes on with the next item or line when as many clients are back as it began with.
    """


@dataclass(frozen=True)
class Skip:
    """Pass over the next ``lines`` lines without sending them: a venue that goes on while nobody listens.

    The server's own book takes them. They need no client and take no time; the next line that is sent is due as
    recorded. A snapshot among them is not handed out.
    """

    lines: int


@dataclass(frozen=True)
class RestFault:
    """An answer in place of the right one, given at once: an error, or a 200 with a broken body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Keep the request for so long, and then treat it as if it had just come."""

    seconds: float


Action = bytes | Pause | Hangup | Skip
"""One thing to do in place of sending a line; bytes are a text frame to send."""


class Faults:
    """No fault at all. For instance, every hundredth line lost and the connections cut at line 250:

    >>> class Bad(Faults):
    ...     def on_line(self, n, frame):
    ...         if n == 250:
    ...             return [frame, Hangup(), Skip(20)]
    ...         return [] if n % 100 == 0 else [frame]
    """

    def on_line(self, n: int, frame: bytes) -> Iterable[Action]:
        """What to do at a line that goes over the websocket.

        Parameters
        ----------
        n : its number in the recording, from 1, over all files; blank lines and snapshots have numbers too
        frame : what would be sent

        Returns
        -------
        Done one after the other: ``[frame]`` sends it, ``[]`` loses it, ``[frame, frame]`` sends it twice. A frame may
        be kept and given with a later line; what is still kept at the end of the recording is lost. Each goes to the
        connections that asked for the stream it names, to all where it names none.
        """
        return (frame,)

    def on_request(self, k: int) -> RestFault | Hang | None:
        """What to do at the k-th depth request, from 1; None answers it."""
        return None
