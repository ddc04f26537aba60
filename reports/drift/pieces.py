"""How far a stretch of the training span lies from the rest of it: what a distance between days is measured against.

Rows 100 ms apart are anything but independent, and the level of a market wanders for hours. A p-value that counts rows
flags every day. So the training span is cut into pieces as long as the day (quarters, where it is short), and into
halves and quarters of these. Each is compared with all the rest by the distance that the day is compared with, put down
to what it would be over the day's length. What is much farther than any of them is news. Long pieces know of slow
changes, and short ones are many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "MIN_BLOCKS",
    "Pieces",
    "Scores",
    "correlation",
    "dependence_pieces",
    "grid_of",
    "marginal_pieces",
    "pieces_of",
]

MIN_BLOCKS = 8
"""Blocks with rows below which a span has no pieces to speak of: two in each quarter."""
_BLOCK_NS = 600 * 1_000_000_000
_MOST_BLOCKS = 512
_PARTS = (1, 2, 4)
_MOST_GROWTH = 0.5
"""Power of the length: undoes the shrinkage, which falls with its root."""
_TAIL = np.geomspace(1e-4, 0.01, 8, endpoint=False)
_GRID = np.concatenate([[0.0], _TAIL, np.linspace(0.01, 0.99, 99), 1.0 - _TAIL[::-1], [1.0]])
"""Quantiles of each side that a distribution function is kept at; closer in the tails, where values are far apart."""


@dataclass(frozen=True)
class Pieces:
    """Runs of blocks of time.

    Attributes
    ----------
    block : int64 [n], block of each row of the span, 0 to blocks - 1
    blocks : blocks that hold rows, in time order
    first, last : int64 [k], each piece is the blocks from ``first`` up to, not including, ``last``
    hours : length of the longest
    shrink : float64 [k], what a distance from piece to rest is worth between the day and the whole span: averages over
        stretches of lengths a and b differ by sqrt(1 / a + 1 / b) where a stretch knows nothing of the next. At most 1
    day : blocks of the day that is to be compared
    """

    block: np.ndarray
    blocks: int
    first: np.ndarray
    last: np.ndarray
    hours: float
    shrink: np.ndarray
    day: int

    def sums(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of per-block sums [blocks, ...] those of each piece and of all the rest, float64 [k, ...] each."""
        run = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
        inside = run[self.last] - run[self.first]
        return inside, run[-1] - inside

    @property
    def days(self) -> float:
        """Length of the span over that of the day, at least 1."""
        return max(self.blocks / self.day, 1.0)

    def farthest(self, apart: np.ndarray) -> np.ndarray:
        """The largest distance of a piece from the rest, put down to the day's length; float64 [...].

        Where stretches know nothing of the next, shrunk distances are as large for long pieces as for short ones. Where
        they grow with the length, a level is on its way: the growth goes on up to the day's length, at most as far as
        for a level that stays what it is.

        Parameters
        ----------
        apart : float64 [k, ...], distances of the pieces, not shrunk
        """
        shrunk = apart * self.shrink.reshape(-1, *(1,) * (apart.ndim - 1))
        sizes = self.last - self.first
        short, long_ = sizes.min(), sizes.max()
        growth = np.zeros(apart.shape[1:])
        if long_ > short:
            ends = [np.sqrt((shrunk[sizes == size] ** 2).mean(axis=0)) for size in (short, long_)]
            with np.errstate(divide="ignore", invalid="ignore"):
                growth = np.nan_to_num(np.log(ends[1] / ends[0]) / np.log(long_ / short), posinf=_MOST_GROWTH)
        return shrunk.max(axis=0) * (max(self.day / long_, 1.0)) ** np.clip(growth, 0.0, _MOST_GROWTH)


def pieces_of(t_ns: np.ndarray, length_ns: int) -> Pieces | None:
    """Cut a span into overlapping pieces of ``length_ns``, at most a quarter of the span, and of parts of that.

    Parameters
    ----------
    t_ns : int64 [n], times of the span's rows in time order
    length_ns : of the day that is to be compared

    Returns
    -------
    Pieces
        None where fewer than ``MIN_BLOCKS`` blocks hold rows.
    """
    if len(t_ns) == 0:
        return None
    span_ns = int(t_ns[-1] - t_ns[0]) + 1
    block_ns = max(_BLOCK_NS, -(-span_ns // _MOST_BLOCKS))
    # Blocks without rows (the feed was down) are left out: a piece is as much data, not as much clock.
    _, block = np.unique((t_ns - t_ns[0]) // block_ns, return_inverse=True)
    blocks = int(block[-1]) + 1
    if blocks < MIN_BLOCKS:
        return None
    day = max(1, round(length_ns / block_ns))
    longest = min(day, blocks // 4)
    first, length = [], []
    for size in sorted({max(1, longest // part) for part in _PARTS}):
        starts = np.arange(blocks - size + 1)
        first.append(starts)
        length.append(np.full(len(starts), size))
    at, size = np.concatenate(first), np.concatenate(length)
    shrink = np.minimum(1.0, np.sqrt((1 / day + 1 / blocks) / (1 / size + 1 / (blocks - size))))
    return Pieces(block, blocks, at, at + size, longest * block_ns / 3.6e12, shrink, day)


def grid_of(*sides: np.ndarray) -> np.ndarray:
    """Where the distribution functions of one column are compared: quantiles of each side and the outermost values.

    Parameters
    ----------
    sides : float [n] each

    Returns
    -------
    float64 [G], ascending; repeated values do no harm
    """
    return np.sort(np.concatenate([np.quantile(side, _GRID) for side in sides]))


def marginal_pieces(values: np.ndarray, pieces: Pieces, grid: np.ndarray, scale: float) -> np.ndarray:
    """Wasserstein distance of each piece of a column from the rest, in units of ``scale``.

    Parameters
    ----------
    values : float [n], rows of the span
    grid : float64 [G], see ``grid_of``

    Returns
    -------
    float64 [k]
    """
    # A cell of the grid ends at the first point that is not below the value. Its area under the distribution function
    # is exact from two sums: the rows before it, and how long before its end each of its own rows comes.
    cell = np.minimum(np.searchsorted(grid, values, side="left"), len(grid) - 1)
    rows, early = np.zeros((2, pieces.blocks, len(grid)))
    np.add.at(rows, (pieces.block, cell), 1.0)
    np.add.at(early, (pieces.block, cell), grid[cell] - values)
    width = np.diff(grid)
    inside, outside = (_areas(n, e, width) for n, e in zip(pieces.sums(rows), pieces.sums(early), strict=True))
    return np.abs(inside - outside).sum(axis=1) / scale


def _areas(rows: np.ndarray, early: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Areas under distribution functions, cell by cell, [k, G - 1]."""
    run = np.cumsum(rows, axis=1)
    return (run[:, :-1] * width + early[:, 1:]) / np.maximum(run[:, -1:], 1.0)


class Scores:
    """Ranks of columns within the training span, -1 to 1, ties at their middle: outliers weigh no more than others.

    Parameters
    ----------
    reference : float [n, C]
    """

    def __init__(self, reference: np.ndarray) -> None:
        self._sorted = np.sort(reference, axis=0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """float64 [m, C] of values [m, C]."""
        out = np.empty(values.shape)
        n = len(self._sorted)
        for c, ordered in enumerate(self._sorted.T):
            below = np.searchsorted(ordered, values[:, c], side="left")
            upto = np.searchsorted(ordered, values[:, c], side="right")
            out[:, c] = (below + upto) / n - 1.0
        return out


def correlation(values: np.ndarray) -> np.ndarray:
    """Correlation matrix of scores, float64 [C, C]; 0 where a column does not move.

    Parameters
    ----------
    values : float64 [n, C], of ``Scores``
    """
    return _correlation(np.array([len(values)], float), values.sum(axis=0)[None], (values.T @ values)[None])[0]


def dependence_pieces(values: np.ndarray, pieces: Pieces) -> np.ndarray:
    """Difference between the correlations inside each piece and in the rest, float64 [k, C, C]."""
    C = values.shape[1]
    n = np.bincount(pieces.block, minlength=pieces.blocks).astype(float)
    first = np.zeros((pieces.blocks, C))
    np.add.at(first, pieces.block, values)
    second = np.empty((pieces.blocks, C, C))
    starts = np.searchsorted(pieces.block, np.arange(pieces.blocks + 1))  # rows are in time order
    for b in range(pieces.blocks):
        rows = values[starts[b] : starts[b + 1]]
        second[b] = rows.T @ rows
    inside, outside = zip(*(pieces.sums(s) for s in (n, first, second)), strict=True)
    return _correlation(*inside) - _correlation(*outside)


def _correlation(n: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[k, C, C] from counts [k], sums [k, C] and sums of products [k, C, C]."""
    many = np.maximum(n, 1.0)[:, None]
    mean = first / many
    cov = second / many[:, :, None] - mean[:, :, None] * mean[:, None, :]
    var = np.einsum("kcc->kc", cov)
    still = var < 1e-9  # of scores between -1 and 1
    deviation = np.sqrt(np.where(still, 1.0, var))
    out = cov / (deviation[:, :, None] * deviation[:, None, :])
    return np.where(still[:, :, None] | still[:, None, :], 0.0, out)
