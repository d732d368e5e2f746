"""Cleaning by predictions alone, against enumeration and against cleanlab."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from cleanlab.classification import CleanLearning
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification.filter import find_label_issues as find_in_lists
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from tests.exports.cleaned import ODD, one, several

from latentlabels import from_pred_probs, to_cleanlab
from latentlabels.auxiliary.transition import confident_transition
from latentlabels.errors import LabelError, MissingPackageError

CLEANLABS = ["is_label_issue", "label_quality", "given_label", "predicted_label"]
# p(y | ŷ): the second class is often called the first, the third now and then anything.
T = np.array([[0.9, 0.1, 0.0], [0.35, 0.6, 0.05], [0.15, 0.15, 0.7]])


def everything(seed: int, x: int = 40) -> tuple[NDArray[np.float64], ...]:
    """p(ŷ | x) and p(ŷ, y | x) for each x, (x, 3) and (x, 3, 3)."""
    true = np.random.default_rng(seed).dirichlet(np.full(3, 0.4), x)
    return true, true[:, :, None] * T


def pairs(table: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """A row for each x and each given class: the class, and p(y | x)."""
    given = np.tile(np.arange(3), len(table))
    return given, np.repeat(table.sum(1), 3, axis=0)


def test_with_the_noise_known_it_is_bayes_rule_on_the_joint_distribution() -> None:
    _, joint = everything(0)
    given, predictions = pairs(joint)
    frame = from_pred_probs(given, predictions, transition=T)
    q = (joint / joint.sum(1, keepdims=True)).transpose(0, 2, 1).reshape(-1, 3)
    rows = np.arange(len(q))
    assert frame["label_quality"].to_numpy() == pytest.approx(q[rows, given], abs=2e-3)
    assert frame["probability"].to_numpy() == pytest.approx(q.max(1), abs=2e-3)
    clear = np.sort(q)[:, -1] - np.sort(q)[:, -2] > 0.01
    assert (frame["predicted_label"] == q.argmax(1))[clear].all()


def test_predictions_taken_for_true_labels_would_count_the_noise_twice() -> None:
    _, joint = everything(0)
    given, predictions = pairs(joint)
    right = (joint / joint.sum(1, keepdims=True)).transpose(0, 2, 1).reshape(-1, 3)
    twice = predictions * T[:, given].T
    twice /= twice.sum(1, keepdims=True)
    assert np.abs(twice - right).max() > 0.2


@pytest.mark.parametrize("seed", range(3))
def test_no_score_of_predictions_ranks_errors_better(seed: int) -> None:
    """Over all of the distribution, with its weights, and the noise known."""
    true, joint = everything(seed)
    given, predictions = pairs(joint)
    frame = from_pred_probs(given, predictions, transition=T)
    weights = joint.transpose(0, 2, 1).reshape(-1, 3)  # (x and y, ŷ)
    wrong = np.arange(3) != given[:, None]
    everywhere = {"y_true": wrong.ravel(), "sample_weight": weights.ravel()}

    def ranked(score: NDArray[np.float64]) -> float:
        area: float = roc_auc_score(y_score=-np.repeat(score, 3), **everywhere)
        return area

    rows = np.arange(len(given))
    ours = ranked(frame["label_quality"].to_numpy())
    assert ours > ranked(predictions[rows, given]) + 0.02
    assert ours >= ranked(np.repeat(true, 3, axis=0)[rows, given]) - 1e-3


def test_labels_in_any_number_are_choices_between_two_classes() -> None:
    noise = np.array([[[0.95, 0.05], [0.4, 0.6]], [[0.7, 0.3], [0.1, 0.9]]])
    true = np.random.default_rng(0).uniform(0.02, 0.98, (50, 2))
    present = true * noise[:, 1, 1] + (1 - true) * noise[:, 0, 1]
    given = np.random.default_rng(1).random(present.shape) < present
    frame = from_pred_probs(
        [np.flatnonzero(row).tolist() for row in given], present, transition=noise
    )
    on = np.where(given, noise[:, 1, 1], noise[:, 1, 0]) * true
    off = np.where(given, noise[:, 0, 1], noise[:, 0, 0]) * (1 - true)
    q = on / (on + off)
    quality = np.where(given, q, 1 - q).prod(1)
    assert frame["label_quality"].to_numpy() == pytest.approx(quality, abs=2e-3)
    for here, row in zip(frame["predicted_label"], q, strict=True):
        if (np.abs(row - 0.5) > 0.01).all():
            assert here == np.flatnonzero(row > 0.5).tolist()


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """True and given digits, 30 in 100 called the next one, and held-out predictions."""
    x, truth = load_digits(return_X_y=True)
    wrong = np.random.default_rng(0).random(len(truth)) < 0.3
    given = np.where(wrong, (truth + 1) % 10, truth)
    classifier = LogisticRegression(C=0.1, max_iter=300)
    predicted = cross_val_predict(classifier, x / 16, given, cv=4, method="predict_proba")
    return truth, given, predicted


def test_with_the_noise_estimated_errors_are_found(digits: tuple[Any, ...]) -> None:
    truth, given, predicted = digits
    frame = from_pred_probs(given, predicted)
    wrong = truth != given
    own = predicted[np.arange(len(given)), given]
    ours = roc_auc_score(wrong, -frame["label_quality"])
    assert ours > 0.95
    assert ours > roc_auc_score(wrong, -own) + 0.05
    assert (frame["predicted_label"] != truth).mean() < wrong.mean() / 2
    # What is said of the proposals holds of them, to five standard errors and five in 100.
    right = (frame["predicted_label"] == truth).to_numpy()
    error = 5 * np.sqrt(right.var() / len(right)) + 0.05
    assert frame["probability"].mean() == pytest.approx(right.mean(), abs=error)


def test_the_noise_is_estimated(digits: tuple[Any, ...]) -> None:
    _, given, predicted = digits
    counted = confident_transition(given, predicted)
    assert counted.sum(1) == pytest.approx(1)
    assert counted.diagonal().mean() == pytest.approx(0.7, abs=0.1)
    assert counted[np.arange(10), (np.arange(10) + 1) % 10].mean() == pytest.approx(0.3, abs=0.1)


def test_a_class_that_is_never_given_is_free_of_noise() -> None:
    given = np.array([0, 0, 1, 1])
    predicted = np.array([[0.6, 0.2, 0.2], [0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.2, 0.5, 0.3]])
    assert confident_transition(given, predicted)[2].tolist() == [0, 0, 1]
    assert not from_pred_probs(given, predicted)["is_label_issue"].any()


def test_the_frame_is_cleanlabs(digits: tuple[Any, ...]) -> None:
    _, given, predicted = digits
    theirs = CleanLearning().find_label_issues(labels=given, pred_probs=predicted)
    ours = from_pred_probs(given, predicted)
    assert list(theirs.columns) == CLEANLABS
    assert list(ours.columns) == [*CLEANLABS, "probability"]
    assert ours.index.equals(theirs.index)
    assert ours["given_label"].tolist() == theirs["given_label"].tolist()
    assert [ours[name].dtype.kind for name in CLEANLABS] == [
        theirs[name].dtype.kind for name in CLEANLABS
    ]
    # A frame that CleanLearning takes in place of its own.
    rows = np.flatnonzero(given < 10)[:, None]
    learner = CleanLearning(LogisticRegression()).fit(rows, given, label_issues=ours)
    assert learner.get_label_issues()["is_label_issue"].sum() == ours["is_label_issue"].sum()


@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_cleaned_classes_go_to_cleanlab() -> None:
    rows = one()
    labels, pred_probs = to_cleanlab(rows.labels)
    assert [[ODD[unit]] for unit in labels] == rows.labels.given
    np.testing.assert_allclose(pred_probs, rows.labels.probabilities, atol=1e-6)
    repeated = np.tile(labels, 20), np.tile(pred_probs, (20, 1))
    assert find_label_issues(*repeated, n_jobs=1).shape == (100,)
    frame = from_pred_probs(*repeated)
    assert frame["given_label"].tolist() == repeated[0].tolist()


@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_cleaned_labels_go_to_cleanlab() -> None:
    rows = several()
    known = rows.known
    with pytest.raises(LabelError, match=r"1 rows were skipped .* row 3"):
        to_cleanlab(rows.labels)
    rows.labels.probabilities[3] = 0.2
    labels, pred_probs = to_cleanlab(rows.labels)
    assert not known[3]
    assert [[ODD[unit] for unit in units] for units in labels] == [
        [name for name in names if name in ODD] for names in rows.labels.given
    ]
    np.testing.assert_array_equal(pred_probs, rows.labels.probabilities)
    assert find_in_lists(labels * 20, np.tile(pred_probs, (20, 1)), n_jobs=1).shape == (100,)
    assert from_pred_probs(labels, pred_probs)["given_label"].tolist() == [
        sorted(units) for units in labels
    ]


P = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("labels", "pred_probs", "transition", "message"),
    [
        ([0], P, None, "labels have 1 rows and pred_probs 2"),
        ([0, 2], P, None, "whole numbers from 0 to 1; row 1 has 2"),
        ([0, None], P, None, "row 1 has None"),
        (["a", "b"], P, None, "row 0 has 'a'"),
        ([[0], [3]], P, None, "row 1 has 3"),
        ({"a": [0, 1]}, P, None, "one column"),
        ([0, 1], [[0.9, 0.9], [0.2, 0.8]], None, "row 0 sums to 1.8"),
        ([0, 1], [[0.9, 0.1], [-0.2, 1.2]], None, "row 1 has others"),
        ([0, 1], [[0.9, 0.1], [np.nan, 1.0]], None, "row 1 has others"),
        ([0, 1], [0.9, 0.1], None, r"the shape \(rows, classes\), got \(2,\)"),
        ([0, 1], [["a", "b"]], None, "pred_probs are numbers"),
        ([0, 1], P, np.eye(3), "transition matrices of the shapes"),
        ([0, 1], P, [[1, 1], [0, 1]], "sum to one"),
        ([[0], []], P, np.eye(2)[None], "Each of 2 labels needs"),
    ],
)
def test_what_does_not_go_together_is_told_of(
    labels: Any, pred_probs: Any, transition: Any, message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        from_pred_probs(labels, pred_probs, transition=transition)


def test_a_class_that_is_no_clean_one_is_told_of() -> None:
    rows = one()
    rows.labels.given[2] = ["unknown"]
    with pytest.raises(LabelError, match=r"row 2 .* was given \['unknown'\], of which 0"):
        to_cleanlab(rows.labels)


def test_without_pandas_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match=r"latentlabels\[exports\]"):
        from_pred_probs([0, 1], P)
