"""Tell a person: one JSON document posted to a webhook. Nothing that fails here may stop anything else."""

from __future__ import annotations

import http.client
import json
import math
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["WEBHOOK", "send_alert"]

WEBHOOK = "OFI_META_WEBHOOK"
"""Where alerts go, an http or https address; unset: nowhere."""
_LIMIT_S = 5.0
_TRIES = 3
_WAIT_S = 0.2


def send_alert(event: Mapping[str, Any], url: str | None = None) -> bool:
    """Post an event. Never raises, and comes back after about 15 s whatever the other side does.

    Parameters
    ----------
    event : anything; what JSON does not know is sent as its text, and a number that is not finite as null
    url : in place of ``$OFI_META_WEBHOOK``

    Returns
    -------
    bool
        Whether it was taken (any 2xx). False where there is no address, or none of three tries got through. A redirect
        is not followed: what is posted goes to the address that was named.
    """
    try:
        address = os.environ.get(WEBHOOK, "") if url is None else url
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return False
        body = json.dumps(_plain(event), allow_nan=False).encode()
        pause = threading.Event()
        return any(_post(address, body) or pause.wait(_WAIT_S) for _ in range(_TRIES))
    except Exception:  # whatever the event or the address is: an alert is never worth an exception
        return False


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


def _post(address: str, body: bytes) -> bool:
    """One try in a thread of its own: a server that sends a byte now and then would hold up a socket's own limit."""
    took: list[bool] = []

    def post() -> None:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
        try:
            with _OPENER.open(request, timeout=_LIMIT_S) as answer:
                took.append(200 <= answer.status < 300)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # refused, timed out, answered with an error or with nonsense: not delivered

    thread = threading.Thread(target=post, name="alert", daemon=True)
    thread.start()
    thread.join(_LIMIT_S)
    return bool(took and took[0])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)
