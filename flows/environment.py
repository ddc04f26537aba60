"""Quiet, local settings for Prefect. It reads them once, when it is first imported: call :func:`configure` before."""

from __future__ import annotations

import os
from pathlib import Path

from feature_repo.paths import data_root

__all__ = ["configure", "quiet_terminal"]


def configure() -> None:
    """Set what a person has not set: everything on this machine, nothing phones home."""
    home = os.environ.setdefault("PREFECT_HOME", str(data_root() / "prefect"))
    # Prefect makes its default home but no other one; without it the server dies at its first look at the database.
    Path(home).mkdir(parents=True, exist_ok=True)
    for name, value in {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        # Its scan races with SQLite's single writer and logs "database is locked"; nothing here depends on it.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    }.items():
        os.environ.setdefault(name, value)


def quiet_terminal() -> None:
    """Keep Prefect's log lines out of a person's terminal: the stages and the tables say what happens there."""
    for part in ("LOGGING", "LOGGING_ROOT", "LOGGING_INTERNAL", "SERVER_LOGGING"):
        os.environ.setdefault(f"PREFECT_{part}_LEVEL", "CRITICAL")
    # Ctrl-C takes the embedded server along; with the default of 5 a person then waits a minute for the retries.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
