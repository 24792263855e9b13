"""Logistic regression of the linear probe, against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from casl.metrics.linear import Linear, top1


def problem(count: int = 90, channels: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    centres = rng.normal(size=(classes, channels))
    features = (centres[labels] + rng.normal(size=(count, channels))) * [1, 10, 0.1, 3, 1, 1] + 5
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("penalty", [1.0, 0.02])
def test_it_finds_the_minimum_that_scipy_finds(penalty: float) -> None:
    features, labels = problem()
    x = features.double().numpy()
    x = (x - x.mean(0)) / x.std(0)
    y = labels.numpy()

    def objective(flat: np.ndarray) -> float:
        weight, bias = flat[:24].reshape(4, 6), flat[24:]
        fit = -log_softmax(x @ weight.T + bias, axis=1)[np.arange(len(y)), y].sum()
        return float(fit + (weight**2).sum() / (2 * penalty))

    best = minimize(objective, np.zeros(28), method="BFGS", options={"gtol": 1e-6})
    found = Linear(features, labels, 4, penalty)
    flat = torch.cat([found.weight.flatten(), found.bias]).detach().numpy()
    assert objective(flat) == pytest.approx(best.fun, rel=1e-7)
    np.testing.assert_allclose(found.weight.detach().numpy(), best.x[:24].reshape(4, 6), atol=2e-4)


def test_it_is_scikit_learns() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = problem()
    unseen, _ = problem(40)
    mean, deviation = features.double().mean(0), features.double().std(0, unbiased=False)
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=5000)
    theirs.fit(((features.double() - mean) / deviation).numpy(), labels.numpy())
    chances = Linear(features, labels, 4).logits(unseen).softmax(1)
    wanted = theirs.predict_proba(((unseen.double() - mean) / deviation).numpy())
    np.testing.assert_allclose(chances.numpy(), wanted, atol=1e-4)


def test_a_dead_channel_and_a_class_without_a_crop_do_no_harm() -> None:
    features, labels = problem()
    wider = torch.cat([features, torch.full((len(features), 1), 3.0)], dim=1)
    found = Linear(wider, labels, 5)
    assert torch.isfinite(found.logits(wider)).all() and 4 not in found.named(wider)
    assert (found.named(wider) == Linear(features, labels, 4).named(features)).all()


def test_it_needs_a_label_for_each_crop() -> None:
    with pytest.raises(ValueError, match="2 features and 1 labels"):
        Linear(torch.zeros(2, 3), torch.zeros(1, dtype=torch.long), 2)


def test_figures_are_percent_and_say_what_chance_gives() -> None:
    assert top1([0, 0, 0, 1], [0, 0, 1, 1]) == {"top1": 75.0, "mean": pytest.approx(250 / 3), "largest": 75.0}
    assert top1([], []) == {"top1": -1.0, "mean": -1.0, "largest": -1.0}
