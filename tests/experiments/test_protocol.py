"""A method under the protocol reads what it may, and is scored on what it may not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from tests.small_tables import QUICK, names_of, table_of_classes, table_of_tags

from latentlabels import RobustClassifier
from latentlabels.auxiliary import choice
from latentlabels.auxiliary.pairs import Pairs
from latentlabels.experiments import protocol
from latentlabels.experiments.protocol import (
    Method,
    mapped_by_name,
    names_in_common,
    paper_methods,
    recovery_of_auxiliary,
    run_method,
)
from latentlabels.experiments.student import fused_probabilities
from latentlabels.experiments.task import Task

ROWS, LABELS = 120, ("cat", "dog", "owl")
SETTINGS = {name: QUICK[name] for name in QUICK.keys() - {"random_state", "students"}}
TABLE = table_of_tags(rows=ROWS)
SPLIT = np.array(["train"] * 60 + ["validation"] * 30 + ["test"] * 30)
TRAIN, VALIDATION, TEST = SPLIT == "train", SPLIT == "validation", SPLIT == "test"
# Their names are the clean ones in another spelling, and one more that names none of them.
TAGS = [[*(name.upper() for name in cell), "photo"] for cell in names_of(TABLE.noisy, LABELS)]
TASK = Task(
    TABLE.x,
    TAGS,
    names_of(TABLE.truth, LABELS),
    SPLIT,
    TRAIN & (np.arange(ROWS) % 3 == 0),
)
UNVERIFIED = TRAIN & ~TASK.verified


def with_wrong_labels(rows: np.ndarray) -> Task:
    """The task with the opposite clean labels in some rows."""
    clean = [
        [name for name in LABELS if name not in cell] if wrong else cell
        for cell, wrong in zip(TASK.clean, rows, strict=True)
    ]
    return replace(TASK, clean=clean)


def ran(role: str, task: Task = TASK, **settings: Any) -> tuple[Any, RobustClassifier]:
    outcome, classifier = run_method(task, Method("", role, {**SETTINGS, **settings}), seed=0)
    assert classifier is not None
    return outcome, classifier


@pytest.fixture(scope="module")
def run() -> Callable[[str], tuple[Any, RobustClassifier]]:
    done: dict[str, tuple[Any, RobustClassifier]] = {}
    return lambda role: done.setdefault(role, ran(role)) if role not in done else done[role]


def test_a_task_hands_over_its_parts() -> None:
    assert TASK.rows("validation").tolist() == list(range(60, 90))
    rows = TASK.rows("train")[:4]
    assert TASK.clean_of(rows) == TASK.clean[:4]
    assert TASK.noisy_of(rows) == TAGS[:4]
    assert TASK.readable(rows) == [TASK.clean[0], None, None, TASK.clean[3]]
    x, clean = TASK.validation()
    np.testing.assert_array_equal(x, TABLE.x[60:90])
    assert clean == TASK.clean[60:90]


@pytest.mark.parametrize("role", ["model", "verified_only", "mapped", "student"])
def test_a_model_is_the_same_whatever_it_may_not_read(role: str, run: Any) -> None:
    """Clean labels of unverified training rows and of test rows move scores and nothing else."""
    outcome, classifier = run(role)
    other, same = ran(role, with_wrong_labels(UNVERIFIED | TEST))
    for name, tensor in classifier.model_.state_dict().items():
        assert torch.equal(same.model_.state_dict()[name], tensor)
    assert same.history_.best_epoch == classifier.history_.best_epoch
    assert (other.test, other.recovery) != (outcome.test, outcome.recovery)


@pytest.mark.parametrize("networks", [1, 3])
def test_a_student_says_what_network_and_regression_say_together(networks: int) -> None:
    """Its odds are the network's times the regression's over the prior's, of every label."""
    outcome, student = ran("student", students=networks)
    assert outcome.test == pytest.approx(
        student.score(TASK.x[TEST], TASK.clean_of(TASK.rows("test")))
    )
    rows = np.flatnonzero(UNVERIFIED)
    fused = fused_probabilities(student, TASK.x[rows], TASK.noisy_of(rows))
    states = torch.from_numpy(TABLE.noisy[rows]).float()
    photos = torch.ones(len(rows), 1)  # the name that is in every row
    given = torch.cat([states, photos], 1)[:, _order(student)]
    known = torch.sigmoid(student.model_.auxiliary.clean_logits(given))
    seen = torch.from_numpy(student.predict_proba(TASK.x[rows]))

    def odds(p: torch.Tensor) -> torch.Tensor:
        return p / (1 - p)

    together = odds(seen) * odds(known) / odds(known.mean(0))
    np.testing.assert_allclose(odds(torch.from_numpy(fused)), together, rtol=1e-3)
    assert outcome.recovery == pytest.approx(
        average_precision_score(TABLE.truth[rows], fused, average="macro")
    )


def _order(classifier: RobustClassifier) -> list[int]:
    """Where each noisy name of a classifier stands among ours."""
    ours = [*(name.upper() for name in LABELS), "photo"]
    return [ours.index(str(name)) for name in classifier.noisy_space_.names]


def test_all_clean_labels_are_read_by_the_method_of_that_name(run: Any) -> None:
    _, classifier = run("all_clean")
    _, other = ran("all_clean", with_wrong_labels(UNVERIFIED))
    assert not torch.equal(other.model_.crf.clean_bias, classifier.model_.crf.clean_bias)


def test_validation_labels_choose_the_epoch(run: Any) -> None:
    _, classifier = run("model")
    _, other = ran("model", with_wrong_labels(VALIDATION))
    one, two = (fit.history_.epochs[0]["validation"] for fit in (classifier, other))
    assert one != two
    assert torch.equal(other.model_.crf.clean_bias, classifier.model_.crf.clean_bias)


def test_an_auxiliary_is_fitted_on_verified_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pairs] = []

    def spy(pairs: Pairs, *settings: Any, **named: Any) -> Any:
        seen.append(pairs)
        return choice.fit_auxiliary(pairs, *settings, **named)

    monkeypatch.setattr(protocol, "fit_auxiliary", spy)
    method = Method("", "auxiliary", {"kind": "regression"})
    outcomes = []
    for task in (TASK, with_wrong_labels(UNVERIFIED)):
        outcome, classifier = run_method(task, method, seed=0)
        assert classifier is None
        assert outcome.test is None
        outcomes.append(outcome.recovery)
    one, other = seen
    np.testing.assert_array_equal(one.clean, TABLE.truth[TASK.verified])
    np.testing.assert_array_equal(one.clean, other.clean)
    np.testing.assert_array_equal(one.noisy.toarray(), other.noisy.toarray())
    assert outcomes[0] != outcomes[1]


@pytest.mark.parametrize("role", ["model", "verified_only", "mapped", "all_clean"])
def test_outcomes_are_scores_of_test_rows_and_of_unverified_rows(role: str, run: Any) -> None:
    outcome, classifier = run(role)
    predicted = classifier.predict_proba(TABLE.x[TEST])
    wanted = average_precision_score(TABLE.truth[TEST], predicted, average="macro")
    assert outcome.test == pytest.approx(wanted)
    assert outcome.epoch == 0
    if role == "all_clean":
        assert outcome.recovery is None, "it was trained on them"
        return
    found = classifier.predict_proba(TABLE.x[UNVERIFIED])
    if role == "model":
        noisy = TASK.noisy_of(np.flatnonzero(UNVERIFIED))
        found = classifier.clean(TABLE.x[UNVERIFIED], noisy).probabilities
    wanted = average_precision_score(TABLE.truth[UNVERIFIED], found, average="macro")
    assert outcome.recovery == pytest.approx(wanted)


@pytest.mark.parametrize("role", ["verified_only", "mapped", "all_clean"])
def test_a_plain_classifier_has_nothing_between_noisy_and_clean_labels(role: str, run: Any) -> None:
    """Then its clean units and the network are a logistic regression on top of features."""
    _, classifier = run(role)
    assert not classifier.model_.crf.clean_noisy.any()
    x = torch.from_numpy(TABLE.x[TEST])
    logits = classifier.model_.crf.fields(classifier.model_.network(x)).latent
    np.testing.assert_allclose(
        classifier.predict_proba(TABLE.x[TEST]), torch.sigmoid(logits).detach(), atol=1e-6
    )


def test_verified_rows_alone_get_as_many_updates_as_all_rows() -> None:
    """20 verified rows make ten batches of two, 60 training rows make fifteen of four."""
    _, classifier = ran("verified_only", batch_size=4, epochs=3, patience=2)
    assert (classifier.epochs, classifier.patience) == (6, 4)
    _, classifier = ran("mapped", batch_size=4, epochs=3)
    assert classifier.epochs == 3


def test_the_seed_is_the_methods(run: Any) -> None:
    again, _ = ran("model")
    outcome, _ = run("model")
    assert (again.test, again.recovery) == (outcome.test, outcome.recovery)
    other, _ = run_method(TASK, Method("", "model", SETTINGS), seed=1)
    assert (other.test, other.recovery) != (outcome.test, outcome.recovery)


def test_noisy_names_are_mapped_whatever_their_case() -> None:
    noisy = [["Cat", "photo"], [], ["OWL", "dog"], ["Straße", 3]]
    found = mapped_by_name(noisy, ["cat", "owl", "STRASSE", "3"])
    assert found == [["cat"], [], ["owl"], ["STRASSE", "3"]]


def test_classes_are_mapped_too() -> None:
    assert mapped_by_name(["Cat", "owl", "sofa"], ["cat", "owl"]) == ["cat", "owl", None]


def test_names_in_common_are_those_that_may_be_read() -> None:
    assert names_in_common(TASK) == 3
    # Without "owl" among verified and validation rows, nobody knows that it is a clean label.
    readable = TASK.verified | VALIDATION
    clean = [
        [name for name in cell if name != "owl" or not known]
        for cell, known in zip(TASK.clean, readable, strict=True)
    ]
    assert names_in_common(replace(TASK, clean=clean)) == 2


def test_a_mapped_classifier_reads_the_names_it_was_given(run: Any) -> None:
    _, classifier = run("mapped")
    assert classifier.classes_.tolist() == list(LABELS)
    noisy = TASK.noisy_of(TASK.rows("train"))
    wanted = RobustClassifier(
        **{**SETTINGS, "pairwise": False}, random_state=0, clean_labels=LABELS
    )
    named = names_of(TABLE.noisy[TRAIN], LABELS)
    wanted.fit(TABLE.x[TRAIN], noisy, named, validation=TASK.validation())
    np.testing.assert_array_equal(wanted.predict_proba(TABLE.x), classifier.predict_proba(TABLE.x))


def test_an_auxiliary_inside_a_model_is_scored_alone(run: Any) -> None:
    _, classifier = run("model")
    method = Method("", "auxiliary", {"kind": "regression"})
    alone, _ = run_method(TASK, method, seed=0)
    # Within the model it is fitted on the same pairs.
    assert recovery_of_auxiliary(TASK, classifier) == pytest.approx(alone.recovery, abs=0.02)
    found = classifier.model_.auxiliary.clean_mean(states_of(classifier, UNVERIFIED))
    wanted = average_precision_score(TABLE.truth[UNVERIFIED], found, average="macro")
    assert recovery_of_auxiliary(TASK, classifier) == pytest.approx(wanted)


def states_of(classifier: RobustClassifier, rows: np.ndarray) -> torch.Tensor:
    index = {name: unit for unit, name in enumerate(classifier.noisy_space_.names)}
    states = torch.zeros(int(rows.sum()), len(index))
    for state, row in zip(states, np.flatnonzero(rows).tolist(), strict=True):
        state[[index[name] for name in TAGS[row]]] = 1
    return states


def test_the_papers_variants_are_settings() -> None:
    methods = {m.name.removeprefix("paper: "): m for m in paper_methods(5, SETTINGS)}
    told = {
        name: tuple(m.settings.get(key) for key in ("pairwise", "hidden", "noisy_link"))
        for name, m in methods.items()
    }
    assert told == {
        "no pairwise terms": (False, None, None),
        "no hidden units": (None, None, True),
        "hidden units": (None, 5, True),
        "hidden units, no x–y link": (None, 5, None),
        "the same, α = 0": (None, 5, None),
    }
    for method in methods.values():
        model = RobustClassifier(**method.settings)
        assert (model.auxiliary, model.start) == ("rbm", "zero")
        alpha = (model.alpha_start, model.alpha_end, model.alpha_epochs)
        assert alpha == ((0, 0, 0) if "α" in method.name else (8, 1, 11))
        assert (model.epochs, model.averaging) == (11, 0)
        assert model.hidden_layers == SETTINGS["hidden_layers"]


def test_classes_go_through_the_protocol_too() -> None:
    table = table_of_classes(rows=ROWS)
    verified = TRAIN & (np.arange(ROWS) % 4 == 0)
    noisy, clean = table.noisy.tolist(), table.truth.tolist()
    task = Task(table.x, noisy, clean, SPLIT, verified)
    unverified = TRAIN & ~verified
    outcome, classifier = ran("model", task)
    predicted = classifier.predict(table.x[TEST])
    assert outcome.test == np.mean(predicted == table.truth[TEST])
    cleaned = classifier.clean(table.x[unverified], table.noisy[unverified])
    proposed = np.array([row[0] for row in cleaned.proposed])
    assert outcome.recovery == np.mean(proposed == table.truth[unverified])
    alone, _ = run_method(task, Method("", "auxiliary", {"kind": "transition"}), seed=0)
    assert alone.recovery is not None
    assert 0 < alone.recovery < 1


def test_classes_with_a_known_transition_need_no_verified_row() -> None:
    table = table_of_classes(rows=ROWS)
    names = sorted(set(table.truth.tolist()) | set(table.noisy.tolist()))
    task = Task(
        table.x, table.noisy.tolist(), table.truth.tolist(), SPLIT, np.zeros(ROWS, np.bool_)
    )
    matrix = 0.7 * np.eye(len(names)) + 0.3 / len(names)
    settings = {"auxiliary": matrix, "clean_labels": names, "noisy_labels": names}
    outcome, classifier = ran("model", task, **settings)
    assert classifier.auxiliary_choice_.kind == "given"
    assert outcome.recovery is not None
    outcome, classifier = ran("mapped", task, clean_labels=names)
    assert classifier.classes_.tolist() == names


def test_without_unverified_rows_there_is_nothing_to_recover() -> None:
    outcome, _ = ran("model", replace(TASK, verified=TRAIN))
    assert outcome.recovery is None
    assert outcome.test is not None
