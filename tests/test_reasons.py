"""Reasons: whatever the model, they add up to the log-odds that the cleaned labels rest on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from tests.small_models import EVERY_MODEL, SmallModel
from tests.small_tables import LEARNING, names_of, table_of_classes, table_of_tags
from tests.test_robust_model import ROWS, GivenPotentials

from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.errors import InputError, LabelError
from latentlabels.estimator import RobustClassifier
from latentlabels.model.posterior import posterior_logits
from latentlabels.model.units import Categorical, Joint, Units
from latentlabels.reasons import Evidence, Reasons, Term
from latentlabels.robust_model import Committee, RobustModel, Teacher


def space_of(units: Units) -> LabelSpace:
    """A label space of these units, its names numbers."""
    parts = units.parts if isinstance(units, Joint) else (units,)
    names = [f"column {number}" for number in range(len(parts))]
    vocabularies = [
        Vocabulary(tuple(range(part.size)), isinstance(part, Categorical)) for part in parts
    ]
    return LabelSpace(tuple(names) if len(names) > 1 else ("",), tuple(vocabularies))


def a_model(
    shape: SmallModel, alpha: float, teachers: int, students: int, seed: int
) -> RobustModel:
    """A random model of that shape, its calibrator and its committees random too."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    def networks(count: int) -> list[GivenPotentials]:
        return [GivenPotentials(shape.potentials(ROWS, seed=seed + k)) for k in range(count)]

    clean = shape.clean.size
    model = RobustModel(
        GivenPotentials(shape.potentials(ROWS, seed=seed)),
        shape.crf(seed=seed),
        shape.auxiliary(seed=seed),
        alpha=alpha,
    ).double()
    if teachers:
        model.teacher = Teacher(networks(teachers), clean).double()
        model.teacher.scale.fill_(0.3)
        model.teacher.prior.copy_(numbers(clean))
    if students:
        model.students = Committee(networks(students), clean).double()
        model.students.bias.copy_(numbers(clean))
    model.usual_input.copy_(numbers(clean))
    model.calibrator.slope.copy_(numbers(clean).exp())
    model.calibrator.offset.copy_(numbers(clean))
    return model


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(EVERY_MODEL)),
    alpha=st.sampled_from([0.0, 0.1, 2.0, math.inf]),
    teachers=st.integers(0, 2),
    students=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_reasons_add_up_to_the_log_odds(
    name: str, alpha: float, teachers: int, students: int, seed: int
) -> None:
    shape = EVERY_MODEL[name]
    model = a_model(shape, alpha, teachers, students, seed)
    noisy, x = shape.labels(ROWS, seed=seed)[0], torch.arange(ROWS)
    seen = None if model.teacher is None else model.teacher(x)
    logits = posterior_logits(model.crf, model.fields(x), noisy, model.auxiliary, alpha, seen)
    logits = logits[:, : shape.clean.size].detach()
    if model.students is not None:
        logits = (logits + model.students.logits(x)) / 2
    logits = model.calibrator(logits)
    torch.testing.assert_close(model.clean_mean(x, noisy), shape.clean.mean(logits))
    space = space_of(shape.clean)
    evidence = Evidence(
        "text",
        space,
        range(shape.noisy.size),
        model.input_evidence(x).numpy(),
        csr_array(noisy.numpy()),
        model.label_evidence(),
    )
    for row in range(ROWS):
        np.testing.assert_allclose(evidence.logits(row), logits[row], atol=1e-5)
        for span in space.spans:
            for unit in range(span.start, span.stop):
                rivals = [k for k in range(span.start, span.stop) if k != unit]
                for rival in rivals if span.exclusive else [None]:
                    reasons = evidence.reasons(row, unit, rival)
                    wanted = logits[row, unit] - (0 if rival is None else logits[row, rival])
                    assert reasons.log_odds == pytest.approx(float(wanted), abs=1e-5)
                    labels = [term.name for term in reasons.terms if term.kind == "label"]
                    assert sorted(labels) == sorted(map(str, noisy[row].nonzero()[:, 0].tolist()))


def test_the_auxiliarys_part_is_the_auxiliarys_own() -> None:
    """All of it where α is infinite, none of it where α is 0; of what the example says, never."""
    shape = EVERY_MODEL["bits to bits, pairs"]
    for alpha, share in ((0.0, 0.0), (math.inf, 1.0)):
        model = a_model(shape, alpha, 0, 0, seed=5)
        labels = model.label_evidence()
        torch.testing.assert_close(labels.auxiliary_weight, share * labels.weight)
        slope = model.calibrator.slope[:, None]
        if share:
            torch.testing.assert_close(labels.weight, slope * model.auxiliary.weight)


def test_what_examples_usually_say_is_part_of_the_prior() -> None:
    """Over the training rows, what the example adds is nothing on average."""
    table = table_of_tags(rows=80, verified=30)
    model = RobustClassifier(**LEARNING).fit(table.x, table.noisy, clean=table.clean)
    cleaned = model.clean(table.x, table.noisy)
    assert cleaned.evidence is not None
    assert np.abs(cleaned.evidence.said).max() > 0.5
    np.testing.assert_allclose(cleaned.evidence.said.mean(0), 0, atol=1e-5)


def test_the_reasons_of_cleaned_tags_are_those_of_their_probabilities() -> None:
    table = table_of_tags(rows=80, verified=30)
    tags = ("cat", "dog", "owl")
    noisy = names_of(table.noisy, tags)
    noisy[0] = ["owl", "new to the model"]
    model = RobustClassifier(**{**LEARNING, "students": 1}, input_kind="vector")
    model.fit(table.x, names_of(table.noisy, tags), clean=names_of(table.clean, tags))
    cleaned = model.clean(table.x, noisy)
    for row in range(len(cleaned)):
        for unit, tag in enumerate(tags):
            reasons = cleaned.reasons(row, tag)
            odds = cleaned.probabilities[row, unit] / (1 - cleaned.probabilities[row, unit])
            assert math.exp(reasons.log_odds) == pytest.approx(odds, rel=1e-3)
            assert {t.name for t in reasons.terms} - {"input", "prior"} == {*noisy[row]} & {*tags}
    told = cleaned.top_reasons()
    assert [len(row) for row in told] == [
        len(new) + len(old) for new, old in zip(cleaned.added, cleaned.removed, strict=True)
    ]
    row = next(row for row, new in enumerate(cleaned.added) if new)
    tag = str(cleaned.added[row][0])
    assert f"added {tag}: {cleaned.reasons(row, tag).top}" in told[row]


def test_classes_are_weighed_against_the_given_one_or_the_next_likely() -> None:
    table = table_of_classes(rows=90, verified=30)
    kinds = np.array(["cat", "dog", "owl"])
    model = RobustClassifier(**LEARNING).fit(
        table.x,
        kinds[table.noisy],
        clean=[
            str(kinds[k]) if v else None for k, v in zip(table.truth, table.verified, strict=True)
        ],
    )
    cleaned = model.clean(table.x, kinds[table.noisy])
    changed = int(np.flatnonzero(cleaned.changed)[0])
    new, old = cleaned.proposed[changed][0], cleaned.given[changed][0]
    forth, back = cleaned.reasons(changed, new), cleaned.reasons(changed, old)
    assert (forth.label, forth.against) == (new, old) == (back.against, back.label)
    assert forth.log_odds == pytest.approx(-back.log_odds)
    share = dict(zip(cleaned.names, cleaned.probabilities[changed], strict=True))
    assert forth.log_odds == pytest.approx(math.log(share[new] / share[old]), abs=1e-3)
    assert cleaned.top_reasons()[changed] == [f"{new} instead of {old}: {forth.top}"]
    kept = int(np.flatnonzero(~cleaned.changed)[0])
    label = str(cleaned.proposed[kept][0])
    likely = np.array(cleaned.names)[np.argsort(cleaned.probabilities[kept])]
    assert cleaned.reasons(kept, label).against == likely[-2]
    assert cleaned.reasons(kept, label, str(likely[0])).against == likely[0]
    with pytest.raises(LabelError, match="does not exclude"):
        cleaned.reasons(kept, label, label)
    with pytest.raises(LabelError, match=r"no clean label 'cow'\. The model knows 'cat', 'dog'"):
        cleaned.reasons(kept, "cow")


def test_a_verified_change_says_so() -> None:
    table = table_of_classes(rows=90, verified=30)
    model = RobustClassifier(**LEARNING).fit(table.x, table.noisy, clean=table.clean)
    cleaned = model.clean(table.x, table.noisy, table.clean)
    row = int(np.flatnonzero(cleaned.changed & cleaned.verified)[0])
    new, old = cleaned.added[row][0], cleaned.removed[row][0]
    assert cleaned.top_reasons()[row] == [f"{new} instead of {old}: verified"]
    assert cleaned.reasons(row, new).terms, "what would be said of it if it were not"


def test_a_skipped_row_has_none() -> None:
    table = table_of_tags(rows=40, verified=20)
    model = RobustClassifier(**LEARNING).fit(table.x, table.noisy, clean=table.clean)
    cleaned = replace(model.clean(table.x, table.noisy), skipped={3: "no image"})
    with pytest.raises(InputError, match="Row 3 has no reasons, for it was skipped: no image"):
        cleaned.reasons(3, 0)


def test_the_largest_terms_are_told_and_the_rest_is_one() -> None:
    values = {"kitchen": 1.3, "picture": 0.9, "prior": -0.4, "pan": 0.25, "cup": -0.1}
    terms = tuple(Term("label", name, value, 0.0) for name, value in values.items())
    assert Reasons("oven", None, terms[:3]).top == "kitchen +1.3, picture +0.9, prior −0.4"
    assert Reasons("oven", None, terms).top.endswith(", prior −0.4, 2 more +0.1")
