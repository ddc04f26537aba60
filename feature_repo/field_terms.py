"""The words of the field catalogue: units, symbols of the formulas, and the papers they come from.

Spans, weights and limits are taken from ``constants``, so that a changed default shows in the catalogue.
"""

from __future__ import annotations

from .constants import ENGINE, MS_NS, WINDOW_NS

__all__ = ["REFERENCES", "SYMBOLS", "UNITS", "time_name", "windows_in"]


def time_name(seconds: float) -> str:
    """A span as people say it: 60 s, 5 min, 4 h."""
    for unit, of in (("h", 3600), ("min", 60)):
        if seconds > of and seconds % of == 0:
            return f"{seconds / of:g} {unit}"
    return f"{seconds:g} s"


def windows_in(seconds: float) -> int:
    """How many windows a span has."""
    return round(seconds * 1000) * MS_NS // WINDOW_NS


UNITS = (
    ("z", "standard deviations of the trailing values"),
    ("quantity", "base units, or contracts where the contract is inverse"),
    ("quote", "quote currency"),
    ("bps", "1/10,000 of the mid"),
    ("sigma", "volume-weighted standard deviations of the trades' prices"),
)
"""The units that do not speak for themselves."""

SYMBOLS = (
    ("k, t, Δ", f"the window, its end t_k, its length of {WINDOW_NS // MS_NS} ms; x[−n] is x of n windows before"),
    ("bᵢ, Bᵢ, aᵢ, Aᵢ", "price and quantity of the i-th best level of the bids and of the asks at t"),
    ("m", "the mid, (a₁ + b₁) / 2"),
    ("v(p, q)", "value in quote currency: p q, or q times the value of one contract where the contract is inverse"),
    ("D_b, D_a", "Σ v(bᵢ, Bᵢ) and Σ v(aᵢ, Aᵢ) over the best 5 levels, or as many as there are"),
    ("message", "all rows of one local_ts and exch_ts; a book message is one with book rows"),
    (
        "good book",
        "a snapshot was seen since the last gap, both sides hold levels, they do not cross, and a book row was applied "
        f"within the last {ENGINE.silence_s} s",
    ),
    (
        "eᵢ",
        "order flow of one book message at level i: [bᵢ ≥ bᵢ′] Bᵢ − [bᵢ ≤ bᵢ′] Bᵢ′ − [aᵢ ≤ aᵢ′] Aᵢ + [aᵢ ≥ aᵢ′] Aᵢ′; "
        "′: before the message; [·]: 1 if true, else 0. A side that lacks the level before or after it adds 0; so does "
        "a message that makes the book good or bad",
    ),
    ("f", "Σ e₁ over the book messages of the window"),
    ("V, δ", "traded quantity of the window; aggressors' purchases less sales (a trade without a side counts 0)"),
    (
        "z(x)",
        f"(x − μ) / max(σ, lot), cut at ±{ENGINE.z_clip:g}. μ, σ: mean and deviation of x over all windows before this "
        "one that ended with a good book; the n-th last of them has the weight "
        f"2^(−n Δ / {time_name(ENGINE.z_half_life_s)})",
    ),
    (
        "by seconds",
        "of a span of N s: the second of the clock in which the window lies, up to t, and the N − 1 whole ones before",
    ),
)
"""The terms that the formulas use."""

REFERENCES = {
    "Andersen, Bollerslev, Diebold, Labys (2003)": "Modeling and Forecasting Realized Volatility. Econometrica 71(2), "
    "579-625",
    "Cartea, Donnelly, Jaimungal (2018)": "Enhancing trading strategies with order book signals. Applied Mathematical "
    "Finance 25(1), 1-35. There of quantities",
    "Cont, Cucuringu, Zhang (2023)": "Cross-impact of order flow imbalance in equity markets. Quantitative Finance "
    "23(10), 1373-1393. There the weights are fitted",
    "Cont, Kukanov, Stoikov (2014)": "The Price Impact of Order Book Events. Journal of Financial Econometrics 12(1), "
    "47-88. Order flow imbalance, and trade imbalance (δ)",
    "Stoikov (2018)": "The micro-price: a high-frequency estimator of future prices. Quantitative Finance 18(12), "
    "1959-1966. w is the weighted mid-price there, from which the micro-price sets out",
    "Wilder (1978)": "New Concepts in Technical Trading Systems. Trend Research",
    "Xu, Gould, Howison (2018)": "Multi-Level Order-Flow Imbalance in a Limit Order Book. Market Microstructure and "
    "Liquidity 4(3-4), 1950011",
}
"""What the short names of ``Field.reference`` stand for."""
