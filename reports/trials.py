"""Every strategy ever tried on a symbol, counted from what was run: the deflated Sharpe ratio needs their number.

releases/trials.jsonl is append-only; a run with the same inputs counts once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from feature_repo.errors import InputError

__all__ = ["TRIALS_NAME", "count_trials", "record_trials"]

TRIALS_NAME = "trials.jsonl"


def _lines(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    rows = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(text)
            rows.append({"run_id": str(row["run_id"]), "symbol": str(row["symbol"]), "trials": int(row["trials"])})
            if rows[-1]["trials"] < 0:
                raise ValueError("fewer trials than none")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}, line {number} is no trial ({type(error).__name__})",
                'a JSON object with "run_id", "symbol" and "trials", a count',
                "Mend or remove that line; without the count of trials no result can be judged",
            ) from error
    return rows


def count_trials(releases: Path, symbol: str) -> int:
    """How many strategies were tried on ``symbol`` in all runs so far.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    return sum(r["trials"] for r in _lines(Path(releases) / TRIALS_NAME) if r["symbol"] == symbol)


def record_trials(releases: Path, run_id: str, symbol: str, trials: int) -> int:
    """Note that a run tried ``trials`` strategies. Returns the count with it.

    Raises
    ------
    InputError
        When the file is damaged; nothing is written then.
    """
    path = Path(releases) / TRIALS_NAME
    if not any(r["run_id"] == run_id for r in _lines(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"run_id": run_id, "symbol": symbol, "trials": int(trials)}).encode() + b"\n"
        with path.open("a+b") as handle:  # one write: two runs side by side cannot mix their lines
            # A file that was mended by hand may lack its last line's end: two trials on one line would be none.
            begun = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, begun - 1))
            handle.write(line if handle.read(1) in (b"", b"\n") else b"\n" + line)
            handle.flush()
            os.fsync(handle.fileno())
    return count_trials(releases, symbol)
