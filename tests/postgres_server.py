"""A real Postgres of one's own: on a free port, in a temporary folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.redis_server import free_port

__all__ = ["has_postgres", "postgres_server"]

USER = "postgres"


def _programs() -> Path | None:
    """Where Debian keeps initdb and pg_ctl, the newest version; it puts neither on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


def has_postgres() -> bool:
    """Whether a server can be started here: it refuses to run as root, so root needs somebody to run it as."""
    return _programs() is not None and (os.geteuid() != 0 or shutil.which("runuser") is not None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """``user@host:port/database`` of an empty database."""
    programs, port = _programs(), free_port()
    assert programs is not None, "no Postgres server here. On Debian: apt-get install postgresql"
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120, check=False
        )
        assert done.returncode == 0, Path(log.name).read_text()[-2_000:]

    with TemporaryDirectory(prefix="ofi-meta-postgres-") as folder, open(f"{folder}/log", "wb") as log:
        os.chmod(folder, 0o711)
        place = Path(folder, "cluster")
        place.mkdir()
        if as_user:
            shutil.chown(place, USER)
        run("initdb", "-D", str(place), "-U", USER, "--auth=trust", "--no-sync")
        run("pg_ctl", "-D", str(place), "-w", "-o", f"-p {port} -h 127.0.0.1 -k ''", "start")
        try:
            yield f"{USER}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(place), "-w", "-m", "immediate", "stop")
