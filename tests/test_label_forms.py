"""Every form that labels and examples may come in gives the same model, and comes back from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csc_array, csr_array, csr_matrix
from sklearn.exceptions import DataConversionWarning
from tests.small_tables import QUICK, names_of, table_of_classes, table_of_tags

from latentlabels import RobustClassifier
from latentlabels.errors import LabelError
from latentlabels.model.units import Bernoulli, Categorical, Joint

ABC = ("a", "b", "c")
TAGS = table_of_tags()
CLASSES = table_of_classes()
NAMES = names_of(TAGS.noisy, ABC)
CLEAN_NAMES = names_of(TAGS.clean, ABC)


def fitted(x: Any, noisy: Any, clean: Any = None, **options: Any) -> RobustClassifier:
    return RobustClassifier(**QUICK).fit(x, noisy, clean, **options)


def assert_same_model(one: RobustClassifier, other: RobustClassifier, x: np.ndarray) -> None:
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))


@pytest.fixture(scope="module")
def of_tags() -> RobustClassifier:
    return fitted(TAGS.x, NAMES, CLEAN_NAMES)


@pytest.fixture(scope="module")
def of_classes() -> RobustClassifier:
    return fitted(CLASSES.x, CLASSES.noisy, CLASSES.clean)


@pytest.mark.parametrize(
    "noisy",
    [
        [tuple(cell) for cell in NAMES],
        [set(cell) for cell in NAMES],
        pd.Series(NAMES),
        TAGS.noisy,
        TAGS.noisy.astype(bool),
        csr_array(TAGS.noisy),
        csc_array(TAGS.noisy.astype(bool)),
        csr_matrix(TAGS.noisy),
        torch.from_numpy(TAGS.noisy),
        pd.DataFrame(TAGS.noisy, columns=list(ABC)),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_noisy_labels_of_several_a_row(noisy: Any, of_tags: RobustClassifier) -> None:
    model = fitted(TAGS.x, noisy, CLEAN_NAMES)
    assert_same_model(model, of_tags, TAGS.x)
    found, wanted = model.clean(TAGS.x, noisy), of_tags.clean(TAGS.x, NAMES)
    np.testing.assert_array_equal(found.probabilities, wanted.probabilities)
    assert found.proposed == wanted.proposed


@pytest.mark.parametrize(
    ("clean", "verified"),
    [
        (pd.Series(CLEAN_NAMES), None),
        (names_of(TAGS.truth, ABC), TAGS.verified),
        (TAGS.clean, None),
        (torch.from_numpy(TAGS.clean), None),
        (pd.DataFrame(TAGS.clean, columns=list(ABC)), None),
        (TAGS.truth, TAGS.verified),
        (TAGS.truth, TAGS.verified.tolist()),
        (csr_array(TAGS.truth), TAGS.verified),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_clean_labels_of_several_a_row(
    clean: Any, verified: Any, of_tags: RobustClassifier
) -> None:
    """Verified by missing values or by a mask; predictions come in the form the labels had."""
    model = fitted(TAGS.x, NAMES, clean, verified=verified)
    assert_same_model(model, of_tags, TAGS.x)
    assert model.clean_space_.units == Bernoulli(3)
    predicted, likely = model.predict(TAGS.x), model.predict_proba(TAGS.x) > 0.5
    if isinstance(predicted, list):
        assert predicted == names_of(likely, ABC)
    else:
        assert predicted.dtype == np.int64
        np.testing.assert_array_equal(predicted, likely)
    named = isinstance(predicted, list) or isinstance(clean, pd.DataFrame)
    assert model.classes_.tolist() == list(ABC if named else range(3))
    for truth in (CLEAN_NAMES, TAGS.clean):
        if named == isinstance(truth, list):
            assert model.score(TAGS.x, truth) == of_tags.score(TAGS.x, CLEAN_NAMES)


def kinds_of(classes: np.ndarray, names: Sequence[Any]) -> list[Any]:
    """The verified rows' classes by name."""
    cells = zip(classes, CLASSES.verified, strict=True)
    return [names[c] if known else None for c, known in cells]


def as_text(classes: Any) -> list[Any]:
    return [None if np.isnan(c) else f"class {int(c)}" for c in classes]


@pytest.mark.parametrize(
    ("noisy", "clean"),
    [
        (CLASSES.noisy.tolist(), [None if np.isnan(c) else int(c) for c in CLASSES.clean]),
        (CLASSES.noisy.astype(float), CLASSES.clean.astype(np.float32)),
        (torch.from_numpy(CLASSES.noisy), torch.from_numpy(CLASSES.clean)),
        (pd.Series(CLASSES.noisy), pd.Series(CLASSES.clean).astype("Int64")),
        (pd.DataFrame({"y": CLASSES.noisy}), pd.DataFrame({"c": CLASSES.clean})),
        (np.array(as_text(CLASSES.noisy)), np.array(as_text(CLASSES.clean), dtype=object)),
        (as_text(CLASSES.noisy), as_text(CLASSES.clean)),
        (pd.Series(as_text(CLASSES.noisy)), pd.Series(as_text(CLASSES.clean), dtype="category")),
    ],
    ids=["ints", "floats", "tensors", "series", "frames", "text arrays", "texts", "text series"],
)
def test_vectors_of_classes(noisy: Any, clean: Any, of_classes: RobustClassifier) -> None:
    model = fitted(CLASSES.x, noisy, clean)
    assert_same_model(model, of_classes, CLASSES.x)
    assert model.clean_space_.units == Categorical(3)
    predicted = model.predict(CLASSES.x)
    wanted = model.predict_proba(CLASSES.x).argmax(1)
    texts = isinstance(model.classes_[0], str)
    assert predicted.tolist() == (as_text(wanted) if texts else wanted.tolist())
    assert predicted.dtype == model.classes_.dtype
    assert model.clean(CLASSES.x[:2], noisy[:2]).given == [[name] for name in np.ravel(noisy[:2])]


def test_classes_by_mask_are_those_by_missing_values(of_classes: RobustClassifier) -> None:
    model = fitted(CLASSES.x, CLASSES.noisy, CLASSES.truth, verified=CLASSES.verified)
    assert_same_model(model, of_classes, CLASSES.x)


def test_a_column_vector_is_read_as_classes(of_classes: RobustClassifier) -> None:
    with pytest.warns(DataConversionWarning):
        model = fitted(CLASSES.x, CLASSES.noisy[:, None], CLASSES.clean)
    assert_same_model(model, of_classes, CLASSES.x)


@pytest.mark.parametrize(
    "form",
    [
        torch.from_numpy,
        lambda x: torch.from_numpy(x).requires_grad_(),
        np.ndarray.tolist,
        lambda x: x.astype(np.float64),
        lambda x: pd.DataFrame(x, columns=list(ABC)),
        np.asfortranarray,
    ],
    ids=["tensor", "tensor with gradient", "lists", "doubles", "frame", "column order"],
)
def test_examples(form: Any, of_tags: RobustClassifier) -> None:
    x = form(TAGS.x.copy())
    model = fitted(x, NAMES, CLEAN_NAMES)
    np.testing.assert_array_equal(model.predict_proba(x), of_tags.predict_proba(TAGS.x))
    assert model.predict(x) == of_tags.predict(TAGS.x)
    assert model.score(x, CLEAN_NAMES) == of_tags.score(TAGS.x, CLEAN_NAMES)
    assert model.clean(x, NAMES).proposed == of_tags.clean(TAGS.x, NAMES).proposed
    assert hasattr(model, "feature_names_in_") == isinstance(x, pd.DataFrame)


def test_several_annotators() -> None:
    """Each row has a class from each of them; the clean class is one."""
    other = table_of_classes(seed=1).noisy
    noisy = {"ann": CLASSES.noisy, "bob": pd.Series(other).map(lambda c: f"class {c}")}
    model = RobustClassifier(**{**QUICK, "auxiliary": "transition"})
    model.fit(CLASSES.x, noisy, CLASSES.clean)
    assert model.noisy_space_.units == Joint([Categorical(3), Categorical(3)])
    assert model.noisy_space_.names[2:4] == ("ann=2", "bob=class 0")
    assert model.clean_space_.units == Categorical(3)
    cleaned = model.clean(CLASSES.x, noisy)
    assert cleaned.probabilities.shape == (60, 3)
    assert cleaned.given[0] == [CLASSES.noisy[0], f"class {other[0]}"]
    np.testing.assert_allclose(cleaned.probabilities.sum(1), 1, rtol=1e-6)
    # The order of columns is that of fitting.
    turned = model.clean(CLASSES.x, dict(reversed(noisy.items())))
    np.testing.assert_array_equal(turned.probabilities, cleaned.probabilities)
    with pytest.raises(LabelError, match=r"columns \['ann', 'bob'\], got \['ann'\]"):
        model.clean(CLASSES.x, {"ann": CLASSES.noisy})


def test_a_frame_of_annotators_is_a_mapping_as_a_dict() -> None:
    frame = pd.DataFrame({"ann": CLASSES.noisy, "bob": table_of_classes(seed=1).noisy})
    one = fitted(CLASSES.x, dict(frame), CLASSES.clean)
    other = fitted(CLASSES.x, {name: frame[name].to_numpy() for name in frame}, CLASSES.clean)
    assert_same_model(one, other, CLASSES.x)


def test_several_noisy_labels_a_row_and_one_clean_class() -> None:
    """As words beside a picture of one thing."""
    words = [[f"word {c}", "photo"] for c in CLASSES.noisy]
    model = fitted(CLASSES.x, words, kinds_of(CLASSES.truth, ABC))
    assert model.noisy_space_.units == Bernoulli(4)
    assert model.clean_space_.units == Categorical(3)
    assert set(model.predict(CLASSES.x)) <= set(ABC)
    np.testing.assert_allclose(model.predict_proba(CLASSES.x).sum(1), 1, rtol=1e-6)
    cleaned = model.clean(CLASSES.x, words)
    assert cleaned.given == words
    assert all(len(proposed) == 1 for proposed in cleaned.proposed)
    assert cleaned.added == cleaned.proposed
    assert not any(cleaned.removed)


def test_several_kinds_of_clean_label() -> None:
    kinds = kinds_of(CLASSES.truth, range(3))
    tags = kinds_of(CLASSES.truth, [["a"], ["a", "b"], ["c"]])
    clean = {"kind": kinds, "tags": tags}
    noisy = {"kind": CLASSES.noisy, "words": NAMES}
    model = fitted(CLASSES.x, noisy, clean)
    assert model.clean_space_.units == Joint([Categorical(3), Bernoulli(3)])
    names = ["kind=0", "kind=1", "kind=2", "tags=a", "tags=b", "tags=c"]
    assert model.classes_.tolist() == names
    likely = model.predict_proba(CLASSES.x)
    predicted = model.predict(CLASSES.x)
    assert set(predicted) == {"kind", "tags"}
    np.testing.assert_array_equal(predicted["kind"], likely[:, :3].argmax(1))
    assert predicted["tags"] == names_of(likely[:, 3:] > 0.5, ABC)
    assert 0 <= model.score(CLASSES.x, clean) <= 1

    cleaned = model.clean(CLASSES.x, noisy, clean)
    assert cleaned.verified.tolist() == CLASSES.verified.tolist()
    for row in np.flatnonzero(CLASSES.verified):
        # A given name is spelt as the clean one where its column has clean labels of its own.
        assert cleaned.given[row] == [f"kind={CLASSES.noisy[row]}", *NAMES[row]]
        assert cleaned.proposed[row] == [f"kind={kinds[row]}", *(f"tags={t}" for t in tags[row])]


def test_a_row_is_verified_where_all_kinds_of_clean_label_are_known() -> None:
    kinds = [1 if row % 2 else None for row in range(60)]
    tags = [["a"] if row % 3 else None for row in range(60)]
    model = fitted(CLASSES.x, NAMES, {"kind": kinds, "tags": tags})
    cleaned = model.clean(CLASSES.x, NAMES, {"kind": kinds, "tags": tags})
    both = [row % 2 > 0 and row % 3 > 0 for row in range(60)]
    assert cleaned.verified.tolist() == both
    assert model.auxiliary_choice_.kind == "regression"


def test_numbers_and_texts_may_be_names_of_one_vocabulary() -> None:
    noisy = [["b", 10] if row % 2 else [9] for row in range(60)]
    model = fitted(CLASSES.x, noisy, noisy)
    assert model.clean_space_.names == (9, 10, "b")
    assert {type(name) for row in model.clean(CLASSES.x, noisy).proposed for name in row} <= {
        int,
        str,
    }
