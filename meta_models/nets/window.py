"""What every net refuses: windows of another shape, lengths and shares it was not made for."""

from __future__ import annotations

import torch
from torch import Tensor

from feature_repo.errors import InputError

__all__ = ["T_MAX", "T_MIN", "check_dropout", "check_length", "check_sizes", "check_window"]

T_MIN, T_MAX = 20, 100


def check_length(T: int, least: int = T_MIN, most: int = T_MAX) -> None:
    """InputError unless ``least <= T <= most`` windows."""
    if not least <= T <= most:
        raise InputError(f"T = {T} windows", f"T in [{least}, {most}]", "Give another --t")


def check_sizes(**sizes: tuple[int, int, float]) -> None:
    """InputError naming every size, given as (value, least, most), unless all lie within their bounds."""
    if all(least <= value <= most for value, least, most in sizes.values()):
        return
    raise InputError(
        ", ".join(f"{name} = {value}" for name, (value, _, _) in sizes.items()),
        ", ".join(f"{name} in [{least}, {most}]" for name, (_, least, most) in sizes.items()),
        "Correct the net's configuration",
    )


def check_dropout(dropout: float) -> None:
    """InputError unless it is a share in [0, 1)."""
    if not 0.0 <= dropout < 1.0:
        raise InputError(f"dropout = {dropout}", "a share in [0, 1)", "Give a smaller dropout")


def check_window(x: Tensor, T: int, C: int) -> None:
    """InputError unless x is [N, T, C]; not asked while tracing, where shapes are constants of the graph."""
    if not torch.jit.is_tracing() and (x.ndim != 3 or x.shape[1:] != (T, C)):
        raise InputError(
            f"a window of shape {tuple(x.shape)}",
            f"[N, T={T}, C={C}]",
            "Rebuild the features or give the matching --t and --c",
        )
