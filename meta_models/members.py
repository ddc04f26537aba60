"""Which nets there are by name, and which of them make up a model."""

from __future__ import annotations

from torch import nn

from feature_repo.constants import MODEL
from feature_repo.errors import InputError

from .nets.linear import Linear, LinearConfig
from .nets.lstm import LSTM, LSTMConfig
from .nets.tcn import TCN, TCNConfig
from .nets.transformer import Transformer, TransformerConfig

__all__ = ["MODELS", "NetConfig", "make_net", "name_of", "nets_of"]

NetConfig = LinearConfig | TCNConfig | TransformerConfig | LSTMConfig

_NETS: dict[str, tuple[type, type[nn.Module]]] = {
    "logistic": (LinearConfig, Linear),
    "tcn": (TCNConfig, TCN),
    "transformer": (TransformerConfig, Transformer),
    "lstm": (LSTMConfig, LSTM),
}
MODELS: dict[str, tuple[str, ...]] = {name: (name,) for name in _NETS} | {"stack": ("tcn", "transformer", "lstm")}
"""The members of each model."""


def nets_of(model: str, T: int = MODEL.T, C: int = MODEL.C) -> tuple[NetConfig, ...]:
    """The shapes of a model's members.

    Raises
    ------
    InputError
        When there is no such model, or a member does not take windows of T steps.
    """
    if model not in MODELS:
        raise InputError(f"model {model!r}", f"one of: {', '.join(MODELS)}", "Give one of these names")
    return tuple(_NETS[member][0](T=T, C=C) for member in MODELS[model])


def name_of(config: NetConfig) -> str:
    """The member's name."""
    return next(name for name, (kind, _) in _NETS.items() if isinstance(config, kind))


def make_net(config: NetConfig) -> nn.Module:
    """An untrained net of this shape."""
    return _NETS[name_of(config)][1](config)
