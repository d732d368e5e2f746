"""`RobustClassifier` end to end: it learns, cleans, keeps what was verified, and refuses in words.

Its label forms are tested in test_label_forms.py, its place in scikit-learn in
test_scikit_learn.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.small_tables import (
    LEARNING,
    QUICK,
    SmallTable,
    global_generators,
    names_of,
    table_of_classes,
    table_of_tags,
)

from latentlabels import Auxiliary, Categorical, LatentLabelsError, RobustClassifier
from latentlabels.auxiliary.transition import symmetric_transition
from latentlabels.errors import LabelError

ABC = ("a", "b", "c")
TAGS = table_of_tags()
CLASSES = table_of_classes()
GIBBS: dict[str, Any] = {"hidden": 2, "chains": 3, "sweeps": 3}


def fitted(table: SmallTable, **settings: Any) -> RobustClassifier:
    settings = {**QUICK, **settings}
    return RobustClassifier(**settings).fit(table.x, table.noisy, table.clean)


def standard_errors_better(
    found: np.ndarray, given: np.ndarray, truth: np.ndarray, rows: np.ndarray
) -> float:
    """How sure it is that one set of labels is better than another on the same rows.

    Labels that only one of the two has right go either way with equal chances if neither is better
    (McNemar), so corrected − spoiled of them has the standard error √(corrected + spoiled).
    """
    corrected = np.sum((found == truth)[rows] & (given != truth)[rows])
    spoiled = np.sum((found != truth)[rows] & (given == truth)[rows])
    return float((corrected - spoiled) / np.sqrt(corrected + spoiled))


def test_classes_with_much_noise_and_few_verified_rows() -> None:
    """Of 200 rows 40 % have a wrong class, and 20 are verified."""
    table = table_of_classes(rows=200, noise=0.4, verified=20)
    model = fitted(table, **LEARNING)
    cleaned = model.clean(table.x, table.noisy)
    proposed = np.array([row[0] for row in cleaned.proposed])
    assert standard_errors_better(proposed, table.noisy, table.truth, table.unverified) > 5
    # Unseen rows, against what the noisy labels of such rows are worth.
    new = table_of_classes(rows=200, noise=0.4, seed=1)
    everywhere = np.ones(200, bool)
    assert standard_errors_better(model.predict(new.x), new.noisy, new.truth, everywhere) > 5


def test_several_labels_a_row() -> None:
    table = table_of_tags(rows=300, labels=4, verified=60)
    model = fitted(table, **LEARNING)
    likely = model.clean(table.x, table.noisy).probabilities > 0.5
    assert standard_errors_better(likely, table.noisy, table.truth, table.unverified) > 5
    new = table_of_tags(rows=300, labels=4, seed=1)
    everywhere = np.ones(300, bool)
    assert standard_errors_better(model.predict(new.x), new.noisy, new.truth, everywhere) > 5


def test_hidden_units_and_too_many_labels_to_enumerate() -> None:
    """2¹³ clean states: the negative phase runs chains, and it learns all the same."""
    table = table_of_tags(rows=200, labels=13, verified=60)
    model = fitted(table, **{**LEARNING, **GIBBS})
    assert model.history_.negative_phase == "gibbs"
    assert model.model_.crf.hidden.size == 2
    # Beyond what the noisy labels alone tell: the auxiliary never looks at x.
    new = table_of_tags(rows=200, labels=13, seed=1)
    told = model.model_.auxiliary.clean_mean(torch.from_numpy(new.noisy).float()).numpy() > 0.5
    seen = model.clean(new.x, new.noisy).probabilities > 0.5
    everywhere = np.ones(200, bool)
    assert standard_errors_better(seen, told, new.truth, everywhere) > 5
    # And p(ŷ | x) beyond what the labels' frequencies tell: each of them is rarer than not.
    nothing = np.zeros_like(new.truth)
    assert standard_errors_better(model.predict(new.x), nothing, new.truth, everywhere) > 5


@pytest.fixture(scope="module")
def of_names() -> RobustClassifier:
    model = RobustClassifier(**QUICK)
    return model.fit(TAGS.x, names_of(TAGS.noisy, ABC), names_of(TAGS.clean, ABC))


@pytest.fixture(scope="module")
def of_classes() -> RobustClassifier:
    return fitted(CLASSES)


def test_cleaned_labels_belong_together(of_names: RobustClassifier) -> None:
    noisy, clean = names_of(TAGS.noisy, ABC), names_of(TAGS.clean, ABC)
    cleaned = of_names.clean(TAGS.x, noisy, clean)
    assert cleaned.names == ABC
    assert cleaned.given == noisy
    assert cleaned.proposed == names_of(cleaned.probabilities > 0.5, ABC)
    for given, proposed, added, removed in zip(
        cleaned.given, cleaned.proposed, cleaned.added, cleaned.removed, strict=True
    ):
        assert set(proposed) == (set(given) | set(added)) - set(removed)
        assert not set(added) & set(given)
        assert set(removed) <= set(given)
    assert len(cleaned) == 60
    assert any(cleaned.added)
    assert any(cleaned.removed)


def test_verified_rows_keep_their_labels(of_names: RobustClassifier) -> None:
    noisy, clean = names_of(TAGS.noisy, ABC), names_of(TAGS.clean, ABC)
    alone, kept = of_names.clean(TAGS.x, noisy), of_names.clean(TAGS.x, noisy, clean)
    assert not alone.verified.any()
    assert kept.verified.tolist() == TAGS.verified.tolist()
    for row in np.flatnonzero(TAGS.verified):
        assert kept.proposed[row] == clean[row]
    np.testing.assert_array_equal(kept.probabilities[TAGS.verified], TAGS.truth[TAGS.verified])
    np.testing.assert_array_equal(
        kept.probabilities[TAGS.unverified], alone.probabilities[TAGS.unverified]
    )
    # By a mask, the labels outside it are not looked at.
    garbage = [cell if cell is not None else ["no such label"] for cell in clean]
    masked = of_names.clean(TAGS.x, noisy, garbage, verified=TAGS.verified)
    assert masked.proposed == kept.proposed
    # A batch without any.
    none = of_names.clean(TAGS.x[:5], noisy[:5], [None] * 5)
    assert none.proposed == alone.proposed[:5]


def test_unknown_noisy_names_are_left_out_of_account(of_names: RobustClassifier) -> None:
    noisy = names_of(TAGS.noisy, ABC)
    cleaned = of_names.clean(TAGS.x, [[*cell, "zebra"] for cell in noisy])
    wanted = of_names.clean(TAGS.x, noisy)
    np.testing.assert_array_equal(cleaned.probabilities, wanted.probabilities)
    assert cleaned.given == [[*cell, "zebra"] for cell in noisy]
    assert (cleaned.added, cleaned.removed) == (wanted.added, wanted.removed)


def test_an_unknown_noisy_class_is_an_error(of_classes: RobustClassifier) -> None:
    with pytest.raises(LabelError, match=r"Row 1 has the noisy class 7, .* It knows 0, 1, 2"):
        of_classes.clean(CLASSES.x[:2], [0, 7])


@pytest.mark.parametrize("settings", [{}, GIBBS], ids=["exact", "gibbs"])
def test_everything_random_comes_from_the_seed(settings: dict[str, Any]) -> None:
    """And from nothing else: the global generators are neither read nor moved."""
    table = table_of_tags(labels=13)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))
        before = global_generators()
        model = fitted(table, **settings, random_state=seed)
        cleaned = model.clean(table.x, table.noisy).probabilities
        found.append((model.predict_proba(table.x), cleaned))
        model.score(table.x, table.truth)
        assert global_generators() == before
    for one, same, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_a_generator_may_be_the_seed() -> None:
    one, same = (fitted(TAGS, random_state=np.random.RandomState(5)) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(TAGS.x), same.predict_proba(TAGS.x))


@pytest.mark.parametrize("table", [TAGS, CLASSES], ids=["tags", "classes"])
def test_unverified_clean_labels_are_never_read(table: SmallTable) -> None:
    """Wrong ones in their place give the same model; a wrong verified one does not."""
    wrong = 1 - table.truth if table is TAGS else (table.truth + 1) % 3

    def proba(clean: np.ndarray) -> np.ndarray:
        model = RobustClassifier(**QUICK)
        model.fit(table.x, table.noisy, clean, verified=table.verified)
        return model.predict_proba(table.x)

    wanted = fitted(table).predict_proba(table.x)
    mixed = table.truth.copy()
    mixed[table.unverified] = wrong[table.unverified]
    np.testing.assert_array_equal(proba(mixed), wanted)
    assert not np.array_equal(proba(wrong), wanted)


def test_validation_rows_choose_the_epoch() -> None:
    held_out = table_of_classes(rows=90, seed=1)
    model = RobustClassifier(**{**LEARNING, "learning_rate": 0.2, "averaging": 0.0})
    validation = (held_out.x, held_out.truth)
    model.fit(CLASSES.x, CLASSES.noisy, CLASSES.clean, validation=validation)
    scores = [epoch["validation"] for epoch in model.history_.epochs]
    assert model.history_.best_epoch == int(np.argmax(scores))
    assert len(set(scores)) > 1
    assert model.score(*validation) == pytest.approx(max(scores))


def test_training_stops_early() -> None:
    """A network that does not move scores the same every epoch."""
    model = RobustClassifier(
        **{**QUICK, "epochs": 8}, patience=2, learning_rate=0.0, crf_learning_rate=0.0
    )
    model.fit(TAGS.x, TAGS.noisy, TAGS.clean, validation=(TAGS.x, TAGS.truth))
    assert len(model.history_.epochs) == 3
    assert model.history_.best_epoch == 0


def test_verified_rows_are_held_out_where_there_are_enough() -> None:
    enough, few = (table_of_classes(rows=120, verified=count) for count in (100, 90))
    model = fitted(enough)
    assert "validation" in model.history_.epochs[0]
    assert model.auxiliary_choice_.pairs == 80
    model = fitted(few)
    assert "validation" not in model.history_.epochs[0]
    assert model.auxiliary_choice_.pairs == 90


def test_the_auxiliary_is_chosen_on_held_out_pairs_and_told() -> None:
    choice = fitted(CLASSES, auxiliary="auto").auxiliary_choice_
    assert set(choice.held_out_loss) == {"regression", "rbm", "transition"}
    assert choice.kind == min(choice.held_out_loss, key=choice.held_out_loss.__getitem__)
    assert choice.pairs == 9


@pytest.mark.parametrize("kind", ["regression", "rbm", "transition"])
def test_an_auxiliary_may_be_named(kind: str) -> None:
    model = fitted(CLASSES, auxiliary=kind)
    assert model.auxiliary_choice_.kind == kind
    assert model.model_.auxiliary.kind == kind


def test_a_known_transition_matrix_needs_no_verified_rows() -> None:
    matrix = symmetric_transition(3, 0.4)
    settings = {**LEARNING, "auxiliary": matrix, "clean_labels": [0, 1, 2]}
    table = table_of_classes(rows=200)
    model = RobustClassifier(**settings).fit(table.x, table.noisy)
    assert model.auxiliary_choice_.kind == "given"
    everywhere = np.ones(200, bool)
    assert standard_errors_better(model.predict(table.x), table.noisy, table.truth, everywhere) > 5


def test_an_auxiliary_may_be_given() -> None:
    weight = torch.eye(3)
    auxiliary = Auxiliary(Categorical(3), Categorical(3), torch.zeros(3), 2 * weight)
    model = fitted(CLASSES, auxiliary=auxiliary)
    assert model.model_.auxiliary is auxiliary
    with pytest.raises(ValueError, match="The auxiliary joins"):
        fitted(TAGS, auxiliary=auxiliary)


def test_classes_without_verified_rows_are_taken_for_mostly_right() -> None:
    model = RobustClassifier(**{**QUICK, "auxiliary": "auto"}).fit(CLASSES.x, CLASSES.noisy)
    assert model.auxiliary_choice_.kind == "symmetric"
    assert model.classes_.tolist() == [0, 1, 2]
    cleaned = model.clean(CLASSES.x, CLASSES.noisy)
    assert not cleaned.verified.any()


def test_every_variant_of_the_model_is_a_setting() -> None:
    linked = fitted(TAGS, noisy_link=True).model_
    assert linked.network.noisy is not None
    unpaired = fitted(TAGS, pairwise=False).model_
    assert not unpaired.crf.clean_noisy.any()
    assert unpaired.network.noisy is None
    hidden = fitted(TAGS, hidden=3, auxiliary="rbm").model_
    assert (hidden.crf.hidden.size, hidden.auxiliary.hidden.size) == (3, 3)
    idle = {"learning_rate": 0.0, "crf_learning_rate": 0.0, "averaging": 0.0}
    assert not fitted(TAGS, start="zero", **idle).model_.crf.clean_noisy.any()
    started = fitted(TAGS, **idle).model_
    assert torch.equal(started.crf.clean_noisy, started.auxiliary.weight)
    assert fitted(TAGS, alpha_start=0.0, alpha_end=0.0).model_.alpha == 0
    # One epoch of a fall that takes ten.
    falls = {"alpha_start": 8.0, "alpha_end": 1.0}
    assert fitted(TAGS, **falls, alpha_epochs=10).model_.alpha == pytest.approx(7.3)
    assert fitted(TAGS, **falls).model_.alpha == 1.0  # A quarter of the one epoch there is.
    assert len(list(fitted(TAGS, hidden_layers=()).model_.network.backbone.children())) == 1


@pytest.mark.parametrize("adaptive", [True, False])
def test_sweeps_adapt_or_stay(adaptive: bool) -> None:
    """Ten to begin with where they adapt, and then as many as the chains need."""
    table = table_of_tags(labels=13)
    gibbs = {"chains": 3, "sweeps": 30, "adaptive_sweeps": adaptive}
    (epoch,) = fitted(table, **gibbs).history_.epochs
    assert (epoch["sweeps"] < 30) == adaptive


CLEAN_CLASSES = CLASSES.clean
NAN, INFINITY = CLASSES.x.copy(), CLASSES.x.copy()
NAN[3, 1], INFINITY[3, 1] = np.nan, np.inf


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({}, {"clean": np.full(60, np.nan)}, "There are no verified rows"),
        ({}, {"verified": np.zeros(60, bool)}, "There are no verified rows"),
        ({}, {"y": TAGS.noisy, "clean": None}, "There are no verified rows"),
        ({}, {"y": names_of(TAGS.noisy, ABC), "clean": None}, "There are no verified rows"),
        ({"auxiliary": "rbm"}, {"clean": None}, "There are no verified rows"),
        ({"clean_labels": [0, 1]}, {}, "The clean label 2.0 in row .* add it to clean_labels"),
        ({"noisy_labels": [0, 1]}, {}, "has the noisy class 2, which the model does not know"),
        ({}, {"y": CLASSES.noisy[:59]}, "60 examples, 59 rows of noisy labels"),
        ({}, {"clean": CLEAN_CLASSES[:59]}, "60 examples, 59 rows of clean labels"),
        ({}, {"X": CLASSES.x[:59]}, "59 examples, 60 rows of noisy labels"),
        ({}, {"y": None}, "pass the noisy labels"),
        ({}, {"y": [None, *CLASSES.noisy[1:]]}, "Row 0 has no noisy class"),
        ({}, {"verified": ~CLASSES.verified}, "is verified and has no clean label"),
        ({}, {"verified": [True] * 59}, "one boolean for each of 60 rows"),
        ({}, {"verified": np.flatnonzero(CLASSES.verified)}, "one boolean for each of 60 rows"),
        ({}, {"X": NAN}, "Input X contains NaN"),
        ({}, {"X": INFINITY}, "Input X contains infinity"),
        ({}, {"X": CLASSES.x[:, 0]}, "Expected 2D array"),
        ({}, {"validation": (CLASSES.x[:, :2], CLASSES.truth)}, "X has 2 features"),
        ({}, {"validation": (CLASSES.x, CLASSES.truth[:3])}, "3 rows of validation labels"),
        ({}, {"validation": (CLASSES.x, CLASSES.truth + 0.5)}, "a name or a whole number"),
        ({"auxiliary": "magic"}, {}, "auxiliary is auto, .* got 'magic'"),
        ({"auxiliary": "transition"}, {"clean": TAGS.clean}, "joins classes to classes"),
        ({"auxiliary": np.eye(2)}, {}, r"shapes \[\(3, 3\)\]"),
        ({"auxiliary": np.ones((3, 3))}, {}, "probabilities that sum to one"),
        ({"start": "middle"}, {}, 'start is "auxiliary" or "zero", got \'middle\''),
        ({"hidden": 2, "pairwise": False}, {}, "no use for hidden units"),
        ({"hidden": -1}, {}, "hidden is a number from 0 upwards, got -1"),
        ({"epochs": 0}, {}, "epochs is a number from 1 upwards, got 0"),
        ({"learning_rate": float("nan")}, {}, "learning_rate is a number from 0 to 1e"),
        ({"hidden_layers": 8}, {}, "hidden_layers is a tuple of whole numbers above zero"),
        ({"alpha_start": np.inf}, {}, "alpha falls from start to end"),
        ({"alpha_start": 0.0, "alpha_end": 0.1}, {}, "alpha falls from start to end"),
        ({"chains": 0}, {}, "chains is a number from 1 upwards, got 0"),
    ],
)
def test_what_cannot_be_fitted_is_told_in_a_sentence(
    settings: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    arguments = {"X": CLASSES.x, "y": CLASSES.noisy, "clean": CLEAN_CLASSES, **arguments}
    with pytest.raises(ValueError, match=message):
        RobustClassifier(**{**QUICK, **settings}).fit(**arguments)


def test_labels_of_another_kind_are_refused(of_classes: RobustClassifier) -> None:
    for call in (
        lambda: of_classes.clean(CLASSES.x, TAGS.noisy),
        lambda: of_classes.clean(CLASSES.x, CLASSES.noisy, TAGS.truth),
        lambda: of_classes.score(CLASSES.x, TAGS.truth),
        lambda: of_classes.clean(CLASSES.x, {"ann": CLASSES.noisy}),
        lambda: of_classes.clean(CLASSES.x, CLASSES.noisy[:5]),
        lambda: of_classes.clean(CLASSES.x, CLASSES.noisy, np.full(60, 7)),
    ):
        with pytest.raises(LatentLabelsError):
            call()


def test_what_silently_meant_something_else_is_refused() -> None:
    model = RobustClassifier(**QUICK).fit(TAGS.x, TAGS.noisy, TAGS.clean)
    for noisy in (TAGS.noisy[:, :2], np.hstack([TAGS.noisy, TAGS.noisy])):
        with pytest.raises(LabelError, match="columns, the model knows 3"):
            model.clean(TAGS.x, noisy)
    with pytest.raises(LabelError, match="look like an indicator matrix"):
        RobustClassifier(**QUICK).fit(TAGS.x, TAGS.noisy.tolist(), TAGS.clean)


def test_training_that_diverges_is_told() -> None:
    with pytest.raises(LatentLabelsError, match="has diverged"):
        RobustClassifier(**{**QUICK, "learning_rate": 1e6, "epochs": 5}).fit(
            1e6 * TAGS.x, TAGS.noisy, TAGS.clean
        )


def test_validation_rows_without_a_label_choose_nothing() -> None:
    model = RobustClassifier(**{**QUICK, "epochs": 3})
    model.fit(TAGS.x, TAGS.noisy, TAGS.clean, validation=(TAGS.x[:5], np.zeros((5, 3), int)))
    assert len(model.history_.epochs) == 3


def test_a_label_that_fitting_did_not_see_is_no_error_in_a_score() -> None:
    noisy, clean = (names_of(labels, "abc") for labels in (TAGS.noisy, TAGS.clean))
    model = RobustClassifier(**QUICK).fit(TAGS.x, noisy, clean)
    truth = names_of(TAGS.truth, "abc")
    more = [[*cell, "rare"] for cell in truth]
    assert model.score(TAGS.x, more) == model.score(TAGS.x, truth)
