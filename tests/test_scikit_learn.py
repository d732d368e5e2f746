"""`RobustClassifier` among scikit-learn's: its own checks, pipelines and searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.small_tables import LEARNING, QUICK, names_of, table_of_classes, table_of_tags

from latentlabels import RobustClassifier
from latentlabels.errors import LabelError

CLASSES = table_of_classes(rows=120, verified=40)
TAGS = table_of_tags(rows=120, verified=40)

# Checks that cannot apply, by name, with why: none. (check_array_api_input skips itself unless
# SCIPY_ARRAY_API is set; the estimator's tags do not claim support for other array libraries.)
NOT_APPLICABLE: dict[str, str] = {}


@parametrize_with_checks(
    [
        RobustClassifier(
            hidden_layers=(16,), epochs=2, learning_rate=0.1, averaging=0.5, random_state=0
        )
    ],
    expected_failed_checks=lambda _: NOT_APPLICABLE,
)
def test_scikit_learns_checks(estimator: RobustClassifier, check: Any) -> None:
    check(estimator)


def test_parameters_are_stored_as_they_are_and_survive_cloning() -> None:
    matrix = np.eye(3)
    model = RobustClassifier(auxiliary=matrix, hidden_layers=(4,), random_state=3)
    assert model.get_params()["auxiliary"] is matrix
    np.testing.assert_array_equal(clone(model).auxiliary, matrix)
    assert clone(model).get_params()["hidden_layers"] == (4,)
    assert model.set_params(hidden=2, alpha_end=0.5).hidden == 2
    assert repr(RobustClassifier(hidden=2)) == "RobustClassifier(hidden=2)"


def test_a_fit_learns_nothing_from_the_one_before() -> None:
    model = RobustClassifier(**QUICK).fit(TAGS.x, TAGS.noisy, TAGS.clean)
    model.fit(CLASSES.x, CLASSES.noisy, CLASSES.clean)
    fresh = RobustClassifier(**QUICK).fit(CLASSES.x, CLASSES.noisy, CLASSES.clean)
    np.testing.assert_array_equal(model.predict_proba(CLASSES.x), fresh.predict_proba(CLASSES.x))
    assert model.n_features_in_ == 4


def test_in_a_pipeline() -> None:
    """The clean labels reach the last step by its name."""
    pipeline = Pipeline([("scale", StandardScaler()), ("model", RobustClassifier(**QUICK))])
    pipeline.fit(CLASSES.x, CLASSES.noisy, model__clean=CLASSES.clean)
    scaled = StandardScaler().fit_transform(CLASSES.x)
    alone = RobustClassifier(**QUICK).fit(scaled, CLASSES.noisy, CLASSES.clean)
    np.testing.assert_array_equal(pipeline.predict_proba(CLASSES.x), alone.predict_proba(scaled))
    np.testing.assert_array_equal(pipeline.predict(CLASSES.x), alone.predict(scaled))
    assert pipeline.score(CLASSES.x, CLASSES.truth) == alone.score(scaled, CLASSES.truth)
    np.testing.assert_array_equal(pipeline.classes_, [0, 1, 2])


def routed(**settings: Any) -> RobustClassifier:
    """A classifier that asks a search for the clean labels, to fit and to score."""
    model = RobustClassifier(**{**LEARNING, "epochs": 2, **settings})
    model.set_fit_request(clean=True).set_score_request(clean=True)
    return model


def score_of_folds(folds: Any, learning_rate: float) -> list[float]:
    """What the search has to find, fold by fold: accuracy on each test part's verified rows."""
    scores = []
    for train, test in folds.split(CLASSES.x, CLASSES.noisy):
        model = RobustClassifier(**{**LEARNING, "epochs": 2, "learning_rate": learning_rate})
        model.fit(CLASSES.x[train], CLASSES.noisy[train], CLASSES.clean[train])
        known = test[CLASSES.verified[test]]
        scores.append(np.mean(model.predict(CLASSES.x[known]) == CLASSES.truth[known]))
    return scores


def test_a_search_is_scored_on_verified_rows() -> None:
    folds = StratifiedKFold(2)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(routed(), {"learning_rate": [0.0, 0.05]}, cv=folds)
        search.fit(CLASSES.x, CLASSES.noisy, clean=CLASSES.clean)
        # Against the noisy labels this could not be much above 0.6.
        assert search.score(CLASSES.x, CLASSES.noisy, clean=CLASSES.clean) > 0.9
    found = [search.cv_results_[f"split{k}_test_score"] for k in range(2)]
    assert [fold[1] for fold in found] == score_of_folds(folds, 0.05)
    assert search.best_params_ == {"learning_rate": 0.05}


def test_a_search_over_lists_of_names() -> None:
    noisy, clean, truth = (
        names_of(labels, "abc") for labels in (TAGS.noisy, TAGS.clean, TAGS.truth[TAGS.verified])
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(routed(), {"epochs": [1, 3]}, cv=KFold(2), error_score="raise")
        search.fit(TAGS.x, noisy, clean=clean)
        best = search.score(TAGS.x, noisy, clean=clean)
    assert search.best_params_ == {"epochs": 3}
    assert best == search.best_estimator_.score(TAGS.x[TAGS.verified], truth)


def test_a_score_is_accuracy_or_mean_average_precision_of_rows_with_clean_labels() -> None:
    model = RobustClassifier(**QUICK).fit(CLASSES.x, CLASSES.noisy, CLASSES.clean)
    known = CLASSES.verified
    wanted = np.mean(model.predict(CLASSES.x[known]) == CLASSES.truth[known])
    assert model.score(CLASSES.x, CLASSES.clean) == wanted
    assert model.score(CLASSES.x, CLASSES.noisy, clean=CLASSES.clean) == wanted
    with pytest.raises(LabelError, match="A score needs rows with clean labels"):
        model.score(CLASSES.x, np.full(120, np.nan))
    with pytest.raises(LabelError, match="120 examples, 3 rows of clean labels"):
        model.score(CLASSES.x, CLASSES.truth[:3])
