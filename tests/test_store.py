"""A model's folder gives the model back, holds nothing that runs, and is whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.small_tables import QUICK, SmallTable, names_of, table_of_classes, table_of_tags

from latentlabels import Auxiliary, Bernoulli, RobustClassifier, store
from latentlabels.errors import ModelFolderError

FILES = {"model.safetensors", "model.json", "vocabulary.json"}
TAGS, CLASSES = table_of_tags(), table_of_classes()


def as_far_as_verified(classes: np.ndarray) -> list[Any]:
    cells = zip(classes.tolist(), CLASSES.verified, strict=True)
    return [name if known else None for name, known in cells]


KINDS: dict[str, tuple[SmallTable, Any, Any]] = {
    "names": (TAGS, names_of(TAGS.noisy, "äß7"), names_of(TAGS.clean, ["x", 2, 3.5])),
    "indicator": (TAGS, TAGS.noisy, TAGS.clean),
    "numbers": (CLASSES, CLASSES.noisy, CLASSES.clean),
    "texts": (
        CLASSES,
        CLASSES.noisy.astype(str),
        as_far_as_verified(CLASSES.truth.astype(str)),
    ),
    "truths": (
        CLASSES,
        CLASSES.noisy > 0,
        as_far_as_verified(CLASSES.truth > 0),
    ),
    "annotators": (
        CLASSES,
        {"ann": CLASSES.noisy, "bob": table_of_classes(seed=1).noisy},
        {"kind": CLASSES.truth, "tags": names_of(TAGS.clean, "abc")},
    ),
}


def fitted(kind: str = "names", **settings: Any) -> RobustClassifier:
    table, noisy, clean = KINDS[kind]
    return RobustClassifier(**{**QUICK, **settings}).fit(table.x, noisy, clean)


@pytest.fixture(scope="module")
def model() -> RobustClassifier:
    return fitted()


@pytest.fixture
def folder(model: RobustClassifier, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def assert_equal_labels(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_equal_labels(one[name], other[name])
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    else:
        assert one == other
        assert [list(map(type, row)) for row in one] == [list(map(type, row)) for row in other]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_back(kind: str, tmp_path: Path) -> None:
    table, noisy, _ = KINDS[kind]
    made = fitted(kind)
    made.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(back.predict_proba(table.x), made.predict_proba(table.x))
    assert_equal_labels(back.predict(table.x), made.predict(table.x))
    cleaned, wanted = back.clean(table.x, noisy), made.clean(table.x, noisy)
    np.testing.assert_array_equal(cleaned.probabilities, wanted.probabilities)
    assert cleaned.proposed == wanted.proposed
    assert_equal_labels(back.classes_, made.classes_)
    assert (back.clean_space_, back.noisy_space_) == (made.clean_space_, made.noisy_space_)
    assert back.n_features_in_ == made.n_features_in_
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 2, "auxiliary": "rbm", "noisy_link": True},
        {"hidden": 2},
        {"pairwise": False, "hidden_layers": ()},
        {"hidden_layers": (5, 4), "alpha_end": 0.3},
    ],
    ids=str,
)
def test_every_shape_of_model_comes_back(settings: dict[str, Any], tmp_path: Path) -> None:
    made = fitted("indicator", **settings)
    made.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    assert not back.model_.training
    for name, tensor in made.model_.state_dict().items():
        assert torch.equal(back.model_.state_dict()[name], tensor)
    assert back.model_.alpha == made.model_.alpha
    assert back.model_.auxiliary.kind == made.model_.auxiliary.kind
    np.testing.assert_array_equal(back.predict_proba(TAGS.x), made.predict_proba(TAGS.x))


def test_sampled_predictions_come_back(tmp_path: Path) -> None:
    """The chains' seed and schedule are part of the model."""
    table = table_of_tags(labels=13)
    settings = {**QUICK, "chains": 2, "sweeps": 2, "random_state": 3}
    made = RobustClassifier(**settings).fit(table.x, table.noisy, table.clean)
    made.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(back.predict_proba(table.x), made.predict_proba(table.x))


def test_the_files_are_safetensors_and_json(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    assert vocabulary == {"clean": [2, 3.5, "x"], "noisy": ["7", "ß", "ä"]}
    assert "ä" in (folder / "vocabulary.json").read_text(encoding="utf-8")
    assert load_file(folder / "model.safetensors")
    assert json.loads((folder / "model.json").read_text(encoding="utf-8"))["schema"] == 3
    assert folder.stat().st_mode & 0o777 == 0o755


def test_settings_and_provenance_come_back(tmp_path: Path) -> None:
    made = fitted(alpha_end=0.3, random_state=7)
    made.save(tmp_path / "model", provenance={"table": "films.csv", "rows": 60})
    back = RobustClassifier.load(tmp_path / "model")
    assert back.provenance_ == {"table": "films.csv", "rows": 60}
    wanted = made.get_params()
    found = back.get_params()
    found["hidden_layers"] = tuple(found["hidden_layers"])
    assert found == wanted
    # Saved anew, it keeps what it knew.
    back.save(tmp_path / "again")
    assert RobustClassifier.load(tmp_path / "again").provenance_ == back.provenance_


def test_settings_come_back_as_far_as_json_can_hold_them(tmp_path: Path) -> None:
    auxiliary = Auxiliary(Bernoulli(3), Bernoulli(3), torch.zeros(3), torch.eye(3))
    made = fitted("indicator", auxiliary=auxiliary, checkpoints=tmp_path / "checkpoints")
    made.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    assert (back.auxiliary, back.checkpoints) == ("auto", str(tmp_path / "checkpoints"))
    np.testing.assert_array_equal(back.predict_proba(TAGS.x), made.predict_proba(TAGS.x))


def test_a_loaded_model_may_be_fitted_anew(folder: Path) -> None:
    back = RobustClassifier.load(folder)
    table, noisy, clean = KINDS["names"]
    again = back.fit(table.x, noisy, clean).predict_proba(table.x)
    np.testing.assert_array_equal(again, fitted().predict_proba(table.x))


def edited(**changes: Any) -> Callable[[Path], None]:
    """A change of model.json; "a.b" is an entry of an entry."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        for path, value in changes.items():
            *parents, last = path.split("__")
            entry = content
            for parent in parents:
                entry = entry[parent]
            if value is None:
                del entry[last]
            else:
                entry[last] = value
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")

    return edit


def reweighted(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """A change of the tensors."""

    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def overwritten(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "has no model.safetensors"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "no description": (lambda f: (f / "model.json").unlink(), "has no model.json"),
    "no vocabulary": (lambda f: (f / "vocabulary.json").unlink(), "has no vocabulary.json"),
    "another schema": (edited(schema=2), "is of schema 2, this version reads 3"),
    "no schema": (edited(schema=None), "is of schema None"),
    "half a JSON": (overwritten("model.json", b'{"schema": 1,'), "JSONDecodeError"),
    "JSON of another shape": (overwritten("model.json", b"[1]"), "damaged"),
    "no text": (overwritten("model.json", b"\xff\xfe\x00"), "UnicodeDecodeError"),
    "no safetensors": (overwritten("model.safetensors", b"PK\x03\x04 a pickle"), "Safetensor"),
    "no bytes": (overwritten("model.safetensors", b""), "SafetensorError"),
    "a missing entry": (edited(alpha=None), "KeyError: 'alpha'"),
    "no provenance": (edited(provenance=None), "KeyError: 'provenance'"),
    "other inputs": (edited(architecture__inputs=4), "damaged: RuntimeError"),
    "other layers": (edited(architecture__hidden_layers=[9]), "damaged: RuntimeError"),
    "more hidden units": (edited(architecture__hidden=2), "damaged: RuntimeError"),
    "negative inputs": (edited(architecture__inputs=-4), "damaged: RuntimeError"),
    "settings of another version": (edited(settings={"colour": "red"}), "does not know: .'colour'"),
    "settings that are none": (edited(settings=[1]), "settings is no object"),
    "provenance that is none": (edited(provenance=[1]), "provenance is no object"),
    "no number": (edited(alpha=-1.0), "alpha or seed is out of range"),
    "an unknown entry": (edited(architecture__colour="red"), "damaged: TypeError"),
    "fewer labels": (
        edited(clean=[{"column": "", "exclusive": False, "names": ["x"]}]),
        "vocabulary.json has other clean names than model.json",
    ),
    "a label twice": (
        edited(clean=[{"column": "", "exclusive": False, "names": ["x", "x", "y"]}]),
        "'x' stands in it twice",
    ),
    "a number that is none": (edited(alpha="much"), "damaged: ValueError"),
    "no chains": (edited(prediction__chains=0), "damaged: ValueError"),
    "a missing tensor": (
        reweighted(lambda tensors: tensors.pop("crf.clean_bias")),
        "damaged: RuntimeError",
    ),
    "a tensor too many": (
        reweighted(lambda tensors: tensors.update(extra=torch.zeros(1))),
        "damaged: RuntimeError",
    ),
    "a tensor of another shape": (
        reweighted(lambda tensors: tensors.update({"crf.clean_bias": torch.zeros(7)})),
        "damaged: RuntimeError",
    ),
    "a weight that is NaN": (
        reweighted(lambda tensors: tensors["crf.clean_noisy"][1, 1].fill_(torch.nan)),
        "a weight is NaN or infinite",
    ),
    "an infinite weight": (
        reweighted(lambda tensors: tensors["auxiliary.weight"][0, 0].fill_(torch.inf)),
        "a weight is NaN or infinite",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_folder_is_one_error(
    folder: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelFolderError, match=message) as error:
        RobustClassifier.load(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_older_model_is_replaced(folder: Path) -> None:
    (folder / "left over").touch()
    other = fitted("numbers")
    other.save(folder)
    back = RobustClassifier.load(folder)
    np.testing.assert_array_equal(back.predict_proba(CLASSES.x), other.predict_proba(CLASSES.x))
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_model_is_not_overwritten(
    kind: str, model: RobustClassifier, tmp_path: Path
) -> None:
    place = tmp_path / "thesis"
    if kind == "folder":
        place.mkdir()
        (place / "chapter.txt").write_text("years of work")
    else:
        place.write_text("years of work")
    with pytest.raises(ModelFolderError, match="is no model's folder"):
        model.save(place)
    kept = place / "chapter.txt" if kind == "folder" else place
    assert kept.read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_folders_above_are_made(model: RobustClassifier, tmp_path: Path) -> None:
    model.save(str(tmp_path / "runs" / "first" / "model"))
    assert RobustClassifier.load(str(tmp_path / "runs" / "first" / "model")).provenance_ == {}


@pytest.mark.parametrize("what", ["weights", "text", "interrupt", "provenance"])
def test_a_failing_write_leaves_the_old_model_and_nothing_else(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    error: BaseException = OSError(28, "No space left on device")
    if what == "interrupt":
        error = KeyboardInterrupt()
    if what == "provenance":
        error = TypeError("no JSON value")

    def fail(*_: object, **__: object) -> None:
        raise error

    if what == "text":
        monkeypatch.setattr(Path, "write_text", fail)
    elif what != "provenance":
        monkeypatch.setattr(store, "save_file", fail)
    provenance = {"made by": object()} if what == "provenance" else None
    other = fitted("numbers")
    for place in (folder, folder.parent / "new"):
        with pytest.raises(type(error)):
            other.save(place, provenance=provenance)
    monkeypatch.undo()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_unfitted_model_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not fitted yet"):
        RobustClassifier().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
