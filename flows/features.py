"""`ofi-meta features`: tapes to feature tables, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from feature_repo.errors import InputError
from feature_repo.side_by_side import side_by_side

from .progress import Stages
from .steps import contract_of, make_features, make_tape

__all__ = ["run"]

Advance = Callable[[float], None]


def run(sources: Sequence[Path], *, workers: int | None = None) -> list[Path | InputError | OSError]:
    """The features' folder of each source, or the error that ended its work; the others go on.

    Parameters
    ----------
    workers : sources at a time; None: one for each CPU
    """
    names = _names(sources)
    usable = [(source, name) for source, name in zip(sources, names, strict=True) if isinstance(name, str)]
    with Stages().together() as begin:

        def make(item: tuple[Path, str], wanted: Advance) -> Path:
            return _make(*item, begin, wanted)

        made = iter(side_by_side(make, usable, workers=workers))
    return [next(made) if isinstance(name, str) else name for name in names]


def _make(source: Path, name: str, begin: Callable[[str], AbstractContextManager[Advance]], wanted: Advance) -> Path:
    def both(advance: Advance) -> Advance:
        def report(fraction: float) -> None:
            wanted(fraction)
            advance(fraction)

        return report

    with begin(f"tape{name}") as advance:
        folder = make_tape(source, progress=both(advance))
    with begin(f"features{name}") as advance:
        return make_features(folder, progress=both(advance))


def _names(sources: Sequence[Path]) -> list[str | InputError | OSError]:
    """What tells the stages of several sources apart, or why a source is refused before anything is written."""
    if len(sources) == 1:
        return [""]
    names: list[str | InputError | OSError] = []
    first: dict[tuple[str, str], Path] = {}
    for source in sources:
        try:
            contract = contract_of(source)
            if contract in first:
                raise InputError(
                    f"{source} is of {contract[1]} on {contract[0]}, as {first[contract]} is",
                    "one tape a contract",
                    "Give them as one folder, or in commands of their own: the later features replace the earlier ones",
                )
        except (InputError, OSError) as error:
            names.append(error)
        else:
            first[contract] = source
            names.append(f" {'/'.join(contract)}")
    return names
