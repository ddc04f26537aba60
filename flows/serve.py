"""`make prefect`: the server with its UI, and the deployments served from this process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

from rich.console import Console
from rich.table import Table

from .environment import configure

__all__ = ["main"]

HOST, PORT = "127.0.0.1", os.environ.get("PREFECT_PORT", "4200")


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _start_server(url: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", PORT],
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
    """Start the server, register the deployments, run what schedules or the UI ask for, until interrupted."""
    if not PORT.isdecimal() or not 0 < int(PORT) < 65_536:
        sys.exit(
            f"error: PREFECT_PORT = {PORT!r}. Expected a port, 1 to 65535. Give one: PREFECT_PORT=4300 make prefect."
        )
    configure()
    url = f"http://{HOST}:{PORT}/api"
    server = None if _healthy(url) else _start_server(url)
    os.environ["PREFECT_API_URL"] = url
    try:
        from prefect import serve

        from .deployments import SERVED, limit_heavy_tasks, to_deployments

        most = limit_heavy_tasks()
        table = Table(title=f"Prefect UI on http://{HOST}:{PORT}")
        for column in ("deployment", "runs (UTC)", "what it does"):
            table.add_column(column)
        for served in SERVED:
            table.add_row(f"{served.flow.name}/{served.name}", served.cron or "when asked", served.says)
        Console().print(table)
        print(f"At most {most} heavy tasks at a time. Ctrl-C stops the server and what it runs.", flush=True)
        serve(*to_deployments(), pause_on_shutdown=False, print_starting_message=False)
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)


if __name__ == "__main__":
    main()
