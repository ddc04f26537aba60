"""Names of models and what they are made of."""

from __future__ import annotations

import pytest
import torch

from feature_repo.errors import InputError
from meta_models.fit import FitConfig
from meta_models.members import MODELS, make_net, name_of, nets_of

pytestmark = pytest.mark.slow


def test_the_stack_is_all_three_nets():
    assert MODELS["stack"] == ("tcn", "transformer", "lstm")
    assert FitConfig.of("stack").members == MODELS["stack"]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_the_default_window(model):
    for name, config in zip(MODELS[model], nets_of(model), strict=True):
        net = make_net(config)
        assert name_of(config) == name
        assert (config.T, config.C) == (64, 24)
        assert net(torch.zeros(3, 64, 24)).shape == (3,)


def test_a_window_that_one_member_does_not_take_is_refused_for_the_stack():
    assert FitConfig.of("lstm", T=80).T == 80
    with pytest.raises(InputError, match="T = 80"):
        FitConfig.of("stack", T=80)


def test_members_of_different_windows_are_refused():
    with pytest.raises(InputError, match="all of one T and C"):
        FitConfig(nets=(*nets_of("tcn", T=32), *nets_of("lstm", T=64)))
    with pytest.raises(InputError, match="at least one"):
        FitConfig(nets=())
