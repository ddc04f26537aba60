"""`make prefect`: the server with its UI, and the nightly shadow deployment served from this process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

from .environment import configure

__all__ = ["main"]

HOST, PORT = "127.0.0.1", int(os.environ.get("PREFECT_PORT", "4200"))
NIGHTLY_CRON = "30 1 * * *"


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _start_server(url: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(PORT)],
        env={**os.environ, "PREFECT_API_URL": url},
    )
    deadline = time.monotonic() + 90
    while not _healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            server.terminate()
            sys.exit(
                f"error: no healthy Prefect server on {url} within 90 s. Expected port {PORT} to be free. "
                "Give another one: PREFECT_PORT=4300 make prefect."
            )
        time.sleep(0.5)
    return server


def main() -> None:
    """Start the server, register the deployment, run what the schedule or the UI asks for, until interrupted."""
    configure()
    url = f"http://{HOST}:{PORT}/api"
    server = None if _healthy(url) else _start_server(url)
    os.environ["PREFECT_API_URL"] = url
    try:
        from .shadow import shadow_flow

        print(f"Prefect UI on http://{HOST}:{PORT}, deployment shadow/nightly-shadow, cron {NIGHTLY_CRON} UTC.")
        print("Ctrl-C stops both.")
        # Not paused at the end: the schedule is a fact about the flow, not about this process.
        shadow_flow.serve(name="nightly-shadow", cron=NIGHTLY_CRON, tags=["shadow"], pause_on_shutdown=False)
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
