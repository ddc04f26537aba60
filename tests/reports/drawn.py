"""What a figure shows, as text and numbers."""

from __future__ import annotations


def said(figure):
    """Everything written in a figure."""
    texts = [t.get_text() for t in figure.texts]
    for ax in figure.axes:
        texts += [t.get_text() for t in ax.texts] + [ax.get_title(loc="left")]
        texts += [t.get_text() for t in ax.get_legend().get_texts()] if ax.get_legend() else []
    for legend in figure.legends:
        texts += [t.get_text() for t in legend.get_texts()]
    return "\n".join(texts)


def lines(ax):
    """Lines by their label."""
    return {line.get_label(): line for line in ax.lines}
