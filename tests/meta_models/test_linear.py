"""The logistic regression as a net says what scikit-learn's says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from feature_repo.errors import InputError
from meta_models.baseline import fit_logistic, flat_weights, flatten
from meta_models.nets.linear import Linear, LinearConfig
from meta_models.normalise import fit_scale
from meta_models.predict import predict_logit
from tests.meta_models.learnable import make

pytestmark = pytest.mark.slow  # torch alone takes seconds to import

CONFIG = LinearConfig(T=20, C=3)
R = len(flat_weights(20))


@pytest.fixture(scope="module")
def fitted():
    samples = make(500)
    x = fit_scale(samples.x, ("a", "b", "c"))(samples.x)
    return x, fit_logistic(flatten(x), samples.labels["y"].astype(int), samples.labels["weight"].astype(float))


def test_fitted_says_what_the_regression_says(fitted):
    x, (scale, coef, intercept) = fitted
    net = Linear.fitted(CONFIG, scale, coef, intercept)
    expected = scale(flatten(x)) @ coef + intercept
    diff = np.abs(predict_logit(net, x) - expected).max()
    print(f"largest difference: {diff:.1e}")
    assert diff <= 2e-6
    assert expected.std() > 0.5
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())


def test_columns_are_row_major_over_time_then_channel(fitted):
    _, (scale, coef, _) = fitted
    plain = replace(scale, mean=np.zeros_like(scale.mean), scale=np.ones_like(scale.scale))
    for row, channel in ((0, 0), (R - 1, 2), (R - 2, 1)):
        only = np.zeros_like(coef)
        only[row * 3 + channel] = 2.0
        x = torch.randn(4, 20, 3)
        expected = 2.0 * x[:, :, channel] @ torch.from_numpy(flat_weights(20)[row]) + 0.5
        assert torch.allclose(Linear.fitted(CONFIG, plain, only, 0.5)(x), expected, atol=1e-6)


def test_its_state_goes_into_an_untrained_one(fitted):
    x, numbers = fitted
    net, other = Linear.fitted(CONFIG, *numbers), Linear(CONFIG)
    other.load_state_dict(net.state_dict())
    assert predict_logit(other, x).tolist() == predict_logit(net, x).tolist()


def test_numbers_of_another_window_are_refused(fitted):
    _, (scale, coef, intercept) = fitted
    with pytest.raises(InputError, match=rf"{R * 4} of them for T=20, C=4"):
        Linear.fitted(LinearConfig(T=20, C=4), scale, coef, intercept)
    with pytest.raises(InputError, match=f"{R * 3} of them"):
        Linear.fitted(CONFIG, scale, coef[None], intercept)


@pytest.mark.parametrize("what", ["coef", "intercept", "cut"])
def test_numbers_that_a_line_cannot_have_are_refused(fitted, what):
    _, (scale, coef, intercept) = fitted
    if what == "coef":
        coef = np.where(np.arange(len(coef)) == 3, np.nan, coef)
    elif what == "intercept":
        intercept = np.inf
    else:
        scale = replace(scale, clip=5.0)
    with pytest.raises(InputError, match="without a cut"):
        Linear.fitted(CONFIG, scale, coef, intercept)


@pytest.mark.parametrize("bad", [{"T": 19}, {"T": 101}, {"C": 0}])
def test_impossible_shapes_are_refused(bad):
    with pytest.raises(InputError):
        LinearConfig(**bad)
