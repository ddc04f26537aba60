"""A training that takes a second. Apart from the samples: Lightning alone takes longer to import than to fit them."""

from __future__ import annotations

from meta_models.fit import FitConfig
from meta_models.lit import OptimConfig
from meta_models.nets.tcn import TCNConfig

SMALL = FitConfig(
    nets=(TCNConfig(T=20, C=3, channels=8, dilations=(1, 2), dropout=0.0),),
    optim=OptimConfig(epochs=3, min_steps=1, batch=64, lr=1e-2, accelerator="cpu"),
    inner_folds=2,
    folds=2,
)
