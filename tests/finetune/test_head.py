"""The classifier on features: logistic regression, with a strength chosen by the validation images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pnasnet.errors import InputError
from pnasnet.finetune.head import STRENGTHS, Head, Labelled, Trial, _RegularizationPath, train_head


def test_strengths_are_tried_from_strong_to_weak_each_once() -> None:
    assert list(STRENGTHS) == sorted(set(STRENGTHS), reverse=True)
    assert (STRENGTHS[0], STRENGTHS[-1]) == pytest.approx((10.0, 1e-5))


def blobs(
    count: int, seed: int, *, distance: float = 1.0, classes: int = 3, shares: tuple[float, ...] = ()
) -> Labelled:
    """Return vectors around a centre for each class, the same centres for every seed."""
    centres = np.random.default_rng(7).normal(size=(classes, 12)) * distance
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=shares or None)
    return Labelled((centres[labels] + rng.normal(size=(count, 12))).astype(np.float32), labels)


def top1(head: Head, data: Labelled) -> float:
    return float((head.logits(data.features).argmax(1) == data.labels).mean())


def test_it_learns_at_any_scale_of_the_features() -> None:
    training, validation, test = (blobs(300, seed, distance=1.5) for seed in range(3))
    head = train_head(training, validation, 3)
    assert top1(head, test) > 0.9
    scale = np.logspace(-4, 4, 12, dtype=np.float32)
    moved = [Labelled(d.features * scale + 100 * scale, d.labels) for d in (training, validation, test)]
    assert top1(train_head(moved[0], moved[1], 3), moved[2]) == pytest.approx(top1(head, test), abs=0.02)


def test_it_is_the_minimum_of_its_objective() -> None:
    """At the chosen strength the gradient vanishes."""
    training = blobs(2000, 0, distance=0.5)
    head = train_head(training, blobs(2000, 1, distance=0.5), 3)
    mean, deviation = training.features.mean(0), training.features.std(0)
    x = (training.features - mean) / deviation
    logits = head.logits(training.features).astype(np.float64)
    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    residual = (probabilities - np.eye(3)[training.labels]) / len(x)
    gradient = x.T @ residual + head.chosen.strength * head.weights * deviation[:, None]
    assert np.abs(gradient).max() < 2e-3
    assert np.abs(residual.sum(0)).max() < 2e-3


def test_noise_is_regularized_more_than_separable_classes() -> None:
    rng = np.random.default_rng(0)
    noise = [Labelled(rng.normal(size=(60, 200)).astype(np.float32), rng.integers(0, 3, 60)) for _ in range(2)]
    clear = [blobs(200, seed, distance=4) for seed in range(2)]
    strong, light = (train_head(training, validation, 3).chosen.strength for training, validation in (noise, clear))
    assert strong >= STRENGTHS[2] > STRENGTHS[6] >= light


def test_trials_are_the_path_and_the_chosen_one_is_the_best() -> None:
    head = train_head(blobs(100, 0), blobs(100, 1), 3)
    assert [trial.strength for trial in head.trials] == list(STRENGTHS[: len(head.trials)])
    assert head.chosen == min(head.trials, key=lambda trial: trial.validation_loss)
    assert len(head.trials) < len(STRENGTHS)  # it ended early


@pytest.mark.parametrize("classes", [2, 3])
def test_a_trial_states_losses_and_top1_of_its_classifier(classes: int) -> None:
    training, validation = (blobs(200, seed, classes=classes) for seed in range(2))
    head = train_head(training, validation, classes)
    assert head.chosen.validation_top1 == pytest.approx(top1(head, validation))
    assert head.chosen.validation_top1 != pytest.approx(top1(head, training), abs=1e-3)
    for data, loss in ((training, head.chosen.training_loss), (validation, head.chosen.validation_loss)):
        logits = head.logits(data.features).astype(np.float64)
        losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(200), data.labels]
        assert loss == pytest.approx(losses.mean(), rel=1e-4)
    assert 0 < head.chosen.iterations <= 200


def test_the_path_ends_after_two_worse_strengths_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single worse strength does not end the path, and the best one is kept."""
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.2, 0.1])
    fit = _RegularizationPath.fit

    def told(self: _RegularizationPath, *arguments: Any) -> Trial:
        return replace(fit(self, *arguments), validation_loss=next(losses))

    monkeypatch.setattr(_RegularizationPath, "fit", told)
    head = train_head(blobs(100, 0), blobs(100, 1), 3)
    assert [trial.validation_loss for trial in head.trials] == [3.0, 2.0, 2.5, 1.0, 1.5, 1.2]
    assert head.chosen == head.trials[3]


def test_the_kept_weights_are_those_of_the_chosen_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = blobs(100, 0), blobs(100, 1)
    head = train_head(training, validation, 3)
    monkeypatch.setattr("pnasnet.finetune.head.STRENGTHS", STRENGTHS[: 1 + head.trials.index(head.chosen)])
    np.testing.assert_array_equal(train_head(training, validation, 3).weights, head.weights)


def test_two_classes_are_regularized_as_any_number() -> None:
    """Scikit-learn has one row of weights for two classes; the minimum is that of the two-row objective."""
    training = blobs(2000, 0, distance=0.5, classes=2)
    head = train_head(training, blobs(2000, 1, distance=0.5, classes=2), 2)
    deviation = training.features.std(0)
    x = (training.features - training.features.mean(0)) / deviation
    logits = head.logits(training.features).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    residual = (probabilities - np.eye(2)[training.labels]) / len(x)
    gradient = x.T @ residual + head.chosen.strength * head.weights * deviation[:, None]
    assert np.abs(gradient).max() < 1e-3
    assert np.abs(head.weights).max() > 0.01


def test_progress_counts_strengths() -> None:
    seen: list[tuple[str, int, int | None]] = []
    head = train_head(blobs(100, 0), blobs(100, 1), 3, progress=lambda *state: seen.append(state))
    assert seen == [("classifier", place, len(STRENGTHS)) for place in range(len(head.trials))]


def test_balanced_classes_help_the_rare_class() -> None:
    shares = (0.93, 0.07)
    training, validation = (blobs(600, seed, distance=0.6, classes=2, shares=shares) for seed in range(2))
    test = blobs(2000, 2, distance=0.6, classes=2)
    recalls = [
        float((head.logits(test.features).argmax(1)[test.labels == 1] == 1).mean())
        for head in (train_head(training, validation, 2, balanced=balanced) for balanced in (False, True))
    ]
    assert recalls[1] > recalls[0] + 0.1


def test_balanced_classes_have_equal_weight_in_the_choice() -> None:
    shares = (0.9, 0.1)
    training, validation = (blobs(400, seed, distance=0.6, classes=2, shares=shares) for seed in range(2))
    head = train_head(training, validation, 2, balanced=True)
    logits = head.logits(validation.features).astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(400), validation.labels]
    counts = np.bincount(training.labels)
    weights = (200 / counts)[validation.labels]
    assert (weights.max() / weights.min()) == pytest.approx((training.labels == 0).sum() / (training.labels == 1).sum())
    assert head.chosen.validation_loss == pytest.approx((losses * weights).sum() / weights.sum(), rel=1e-3)


def test_training_is_deterministic() -> None:
    first, second = (train_head(blobs(100, 0), blobs(100, 1), 3) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_a_constant_feature_has_no_weight() -> None:
    training, validation = blobs(100, 0), blobs(100, 1)
    constant = [
        Labelled(np.column_stack([d.features, np.full(len(d.labels), 3.3, np.float32)]), d.labels)
        for d in (training, validation)
    ]
    head = train_head(constant[0], constant[1], 3)
    assert (head.weights[-1] == 0).all()
    assert np.isfinite(head.weights).all()
    assert head.variables().keys() == {"final_layer/FC/weights", "final_layer/FC/biases"}


def test_features_that_are_not_finite() -> None:
    training = blobs(50, 0)
    training.features[3, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        train_head(training, blobs(50, 1), 3)
