"""The first step of `ofi-meta`: the base install has the command, but not all that its subcommands need."""

from __future__ import annotations

import sys

__all__ = ["main"]

_OURS = ("feature_repo", "runtime", "meta_models", "reports", "flows")


def main() -> None:
    """Run the command line; where a library is missing, say which extra brings it, and end with code 2."""
    try:
        from .cli import main as run

        run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in _OURS:
            raise
        print(
            f"error: this command needs {error.name}, and only the gate is installed. Expected the extra [flows], "
            "or [live] for `ofi-meta live`. Install it: pip install '.[flows]'.",
            file=sys.stderr,
        )
        sys.exit(2)
