"""A model's folder gives the model back, holds nothing that runs, and is whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.small_tables import QUICK, SmallTable, names_of, table_of_classes, table_of_tags
from torch.utils._python_dispatch import TorchDispatchMode

from latentlabels import Auxiliary, Bernoulli, RobustClassifier, store
from latentlabels.description import MOST_BYTES
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
    assert json.loads((folder / "model.json").read_text(encoding="utf-8"))["schema"] == 4
    assert folder.stat().st_mode & 0o777 == 0o755


def test_settings_and_provenance_come_back(tmp_path: Path) -> None:
    made = fitted(alpha_end=0.3, random_state=7)
    made.save(tmp_path / "model", provenance={"table": "films.csv", "rows": 60})
    back = RobustClassifier.load(tmp_path / "model")
    assert back.provenance_ == {**made.provenance_, "table": "films.csv", "rows": 60}
    wanted = made.get_params()
    found = back.get_params()
    found["hidden_layers"] = tuple(found["hidden_layers"])
    assert found == wanted
    # Saved anew, it keeps what it knew.
    back.save(tmp_path / "again")
    assert RobustClassifier.load(tmp_path / "again").provenance_ == back.provenance_


def test_every_fit_says_when_and_with_what() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    told = fitted(random_state=7).provenance_
    assert before <= datetime.fromisoformat(told["date"]) <= datetime.now(UTC)
    assert told["seed"] == 7
    assert told["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert set(told["versions"]) == {"python", "latentlabels", "lightning", "numpy", "torch"}
    drawn = fitted(random_state=np.random.RandomState(3))
    assert drawn.provenance_["seed"] == drawn.model_.seed


def test_settings_come_back_as_far_as_json_can_hold_them(tmp_path: Path) -> None:
    auxiliary = Auxiliary(Bernoulli(3), Bernoulli(3), torch.zeros(3), torch.eye(3))
    made = fitted("indicator", auxiliary=auxiliary)
    made.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    assert back.auxiliary == "auto"
    np.testing.assert_array_equal(back.predict_proba(TAGS.x), made.predict_proba(TAGS.x))


def test_what_belongs_to_a_machine_is_no_part_of_a_model(tmp_path: Path) -> None:
    """A stranger's model does not say where files go here, or how many processes are started."""
    places: dict[str, Any] = {
        name: str(tmp_path / name) for name in ("cache", "chain_file", "checkpoints")
    }
    machine = {**places, "resume": True, "workers": 2}
    fitted(**machine).save(tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "model.json").read_text())["settings"]
    assert not set(machine) & set(settings)
    for name, value in machine.items():
        edited(**{f"settings__{name}": value})(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model")
    assert back.cache is back.chain_file is back.checkpoints is None
    assert (back.resume, back.workers) == (False, 0)


def test_a_model_without_a_sampler_is_read(folder: Path, model: RobustClassifier) -> None:
    """The version before the sampler could be chosen wrote none down."""
    edited(prediction__sampler=None, settings__sampler=None)(folder)
    back = RobustClassifier.load(folder)
    assert back.model_.prediction.sampler == "auto"
    np.testing.assert_array_equal(back.predict_proba(TAGS.x), model.predict_proba(TAGS.x))


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


def linked(name: str) -> Callable[[Path], Any]:
    """A file of the folder somewhere else, and a link in its place."""

    def edit(folder: Path) -> None:
        (folder / name).rename(folder.parent / "outside")
        (folder / name).symlink_to(folder.parent / "outside")

    return edit


def cut(name: str, kept: float) -> Callable[[Path], Any]:
    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(kept * len(content))])

    return edit


COLUMN = {"column": "", "exclusive": False}
DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "has no model.safetensors"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "no description": (lambda f: (f / "model.json").unlink(), "has no model.json"),
    "no vocabulary": (lambda f: (f / "vocabulary.json").unlink(), "has no vocabulary.json"),
    "a link to the weights": (linked("model.safetensors"), "model.safetensors is a link"),
    "a link to the description": (linked("model.json"), "model.json is a link"),
    "a link to the vocabulary": (linked("vocabulary.json"), "vocabulary.json is a link"),
    "an older schema": (edited(schema=2), "schema 2, this version reads 4. Fit the model anew, or"),
    "a newer schema": (
        edited(schema=5, architecture={}),
        "schema 5, this version reads 4. Install a newer latentlabels",
    ),
    "no schema": (edited(schema=None), "is of schema None"),
    "a schema that is none": (edited(schema="4"), "is of schema '4'"),
    "half a JSON": (overwritten("model.json", b'{"schema": 1,'), "no JSON .EOF"),
    "JSON of another shape": (overwritten("model.json", b"[1]"), "is of schema None"),
    "no text": (overwritten("model.json", b"\xff\xfe\x00"), "no JSON"),
    "JSON within JSON without end": (overwritten("model.json", b"[" * 10**6), "recursion limit"),
    "a vocabulary too large": (
        overwritten("vocabulary.json", b" " * (MOST_BYTES + 1)),
        "vocabulary.json is larger than the 16,777,216 bytes",
    ),
    "a vocabulary of another shape": (overwritten("vocabulary.json", b"[]"), "other clean names"),
    "NaN": (edited(alpha=float("nan")), "no JSON"),
    "a number beyond all": (
        lambda f: (
            edited(settings__epochs="1e999")(f)
            or (f / "model.json").write_text(
                (f / "model.json").read_text().replace('"1e999"', "1e999")
            )
        ),
        "no JSON .Out of range",
    ),
    "no safetensors": (overwritten("model.safetensors", b"PK\x03\x04 a pickle"), "Safetensor"),
    "no bytes": (overwritten("model.safetensors", b""), "SafetensorError"),
    "half the weights": (cut("model.safetensors", 0.5), "SafetensorError"),
    "a missing entry": (edited(alpha=None), "alpha: Field required"),
    "no provenance": (edited(provenance=None), "provenance: Field required"),
    "other inputs": (
        edited(architecture__inputs=4),
        r"'network.backbone.0.mean' is of shape \(3,\), and \(4,\) is described",
    ),
    "other layers": (
        edited(architecture__hidden_layers=[9]),
        r"'network.backbone.1.weight' is of shape \(8, 3\), and \(9, 3\) is described",
    ),
    "more layers": (
        edited(architecture__hidden_layers=[8, 8]),
        "there is no tensor 'network.backbone.4.weight'",
    ),
    "more hidden units": (
        edited(architecture__hidden=2),
        r"'crf.hidden_bias' is of shape \(0,\), and \(2,\) is described",
    ),
    "hidden units of the auxiliary's alone": (
        edited(architecture__auxiliary_hidden=2),
        "'auxiliary.bias' is of shape",
    ),
    "a noisy link that is not there": (
        edited(architecture__noisy_link=True),
        "there is no tensor 'network.noisy.weight'",
    ),
    "teachers that are not there": (
        edited(architecture__teachers=2),
        "there is no tensor 'teacher.networks.0",
    ),
    "held-out changes that are not there": (
        edited(held_out_changes=2),
        r"'calibrator.confidence' is of shape \(0,\), and \(2,\) is described",
    ),
    "fewer held-out changes than none": (edited(held_out_changes=-1), "held_out_changes: Input"),
    "a calibrator that turns things round": (
        reweighted(lambda tensors: tensors["calibrator.slope"].neg_()),
        "a calibrator's slope is not above zero",
    ),
    "a calibrator of NaN": (
        reweighted(lambda tensors: tensors["calibrator.offset"].fill_(float("nan"))),
        "NaN or infinite, in calibrator.offset",
    ),
    "negative inputs": (edited(architecture__inputs=-4), "architecture.inputs: Input should be gr"),
    "a thousand teachers": (
        edited(architecture__teachers=1000),
        "architecture.teachers: Input should be less than or equal to 100, got 1000",
    ),
    "inputs as a text": (
        edited(architecture__inputs="3"),
        "architecture.inputs: Input should be a valid integer, got '3'",
    ),
    "a truth that is a number": (edited(architecture__pairwise=1), "architecture.pairwise"),
    "an unknown precision": (edited(architecture__precision="float8"), "architecture.precision"),
    "tuned without a backbone": (edited(architecture__tune="all"), "tune='all' has an encoder"),
    "settings of another version": (edited(settings={"colour": "red"}), "does not know: .'colour'"),
    "settings that are none": (edited(settings=[1]), "settings: Input should be an object"),
    "a setting out of range": (edited(settings__teachers=-1), "settings teachers is a whole numb"),
    "a setting of another type": (edited(settings__epochs="ten"), "settings epochs is a number"),
    "another kind of input": (edited(settings__input_kind="image"), "settings.input_kind is not"),
    "a backbone for vectors": (
        edited(settings__backbone="hf-hub:nobody/model"),
        "settings.backbone is not that of the architecture",
    ),
    "provenance that is none": (edited(provenance=[1]), "provenance: Input should be an object"),
    "no number": (edited(alpha=-1.0), "alpha: Input should be greater than or equal to 0"),
    "a seed too large": (edited(seed=2**32), "seed: Input should be less than"),
    "an unknown entry": (edited(architecture__colour="red"), "architecture.colour: Unexpected"),
    "fewer labels": (
        edited(clean=[{**COLUMN, "names": ["x"]}]),
        "vocabulary.json has other clean names than model.json",
    ),
    "a label twice": (
        edited(clean=[{**COLUMN, "names": ["x", "x", "y"]}]),
        "clean.0: A vocabulary names each label once, 'x' stands in it twice",
    ),
    "a label that is none": (
        edited(clean=[{**COLUMN, "names": ["x", ["y"], "z"]}]),
        "clean.0.names.1: A label's name is a whole text or a finite number, got .'y'.",
    ),
    "a column twice": (
        edited(clean=[{**COLUMN, "names": ["x"]}] * 2, clean_forms=["names"] * 2),
        "clean has two columns of the same name",
    ),
    "no column": (edited(noisy=[]), "noisy: Tuple should have at least 1 item"),
    "forms of other columns": (edited(clean_forms=["classes"]), "clean_forms are not those"),
    "feature names of other inputs": (edited(feature_names=["a"]), "feature_names are 1"),
    "a number that is none": (edited(alpha="much"), "alpha: Input should be a valid number"),
    "no chains": (edited(prediction__chains=0), "prediction: Gibbs sampling needs at least one"),
    "chains without end": (edited(prediction__chains=10**9), "chains and sweeps are 10000 at most"),
    "a missing tensor": (
        reweighted(lambda tensors: tensors.pop("crf.clean_bias")),
        "there is no tensor 'crf.clean_bias'",
    ),
    "a tensor too many": (
        reweighted(lambda tensors: tensors.update(extra=torch.zeros(1))),
        "a tensor too many: 'extra'",
    ),
    "a tensor of another shape": (
        reweighted(lambda tensors: tensors.update({"crf.clean_bias": torch.zeros(7)})),
        "'crf.clean_bias' is of shape",
    ),
    "a tensor of another type": (
        reweighted(lambda tensors: tensors.update({"crf.clean_bias": torch.zeros(3).half()})),
        "'crf.clean_bias' is of type torch.float16, not torch.float32",
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


HUGE = 1 << 24


class LargestTensor(TorchDispatchMode):
    """Sees how many numbers the largest tensor in memory has that is made meanwhile."""

    numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize(
    "sizes",
    [
        {"architecture__inputs": HUGE},
        {"architecture__hidden_layers": [HUGE] * 100},
        {"architecture__hidden": HUGE},
        {"architecture__hidden": HUGE, "architecture__auxiliary_hidden": HUGE},
        {"architecture__teachers": 100, "architecture__students": 100},
    ],
    ids=lambda sizes: " ".join(sizes),
)
def test_a_shape_that_the_file_does_not_have_takes_no_memory(
    sizes: dict[str, Any], folder: Path
) -> None:
    """A file of kilobytes may claim a model of petabytes."""
    edited(**sizes)(folder)
    made = LargestTensor()
    with made, pytest.raises(ModelFolderError, match=r"no tensor|is of shape"):
        RobustClassifier.load(folder)
    assert made.numbers < 1000


def test_a_header_that_claims_more_than_the_file_holds(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    for claim in (len(content), 1 << 40, (1 << 64) - 1):
        (folder / "model.safetensors").write_bytes(claim.to_bytes(8, "little") + content[8:])
        with pytest.raises(ModelFolderError, match="SafetensorError"):
            RobustClassifier.load(folder)


def test_what_could_not_be_read_again_is_not_written(
    model: RobustClassifier, tmp_path: Path
) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    for provenance in ({"long": "x" * MOST_BYTES}, {"deep": deep}):
        with pytest.raises(ModelFolderError, match=r"model.json is (larger|damaged)"):
            model.save(tmp_path / "model", provenance=provenance)
    assert not list(tmp_path.iterdir())


def test_a_loaded_model_does_not_hang_on_its_file(folder: Path, model: RobustClassifier) -> None:
    back = RobustClassifier.load(folder)
    for path in folder.iterdir():
        path.write_bytes(b"")
    np.testing.assert_array_equal(back.predict_proba(TAGS.x), model.predict_proba(TAGS.x))


def test_an_older_model_is_replaced(folder: Path) -> None:
    (folder / "left over").touch()
    other = fitted("numbers")
    other.save(folder)
    back = RobustClassifier.load(folder)
    np.testing.assert_array_equal(back.predict_proba(CLASSES.x), other.predict_proba(CLASSES.x))
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_cleared_up(folder: Path, model: RobustClassifier) -> None:
    for what in ("new", "old"):
        shutil.copytree(folder, folder.with_name(f".model.{what}"))
    model.save(folder)
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
    back = RobustClassifier.load(str(tmp_path / "runs" / "first" / "model"))
    assert back.provenance_ == model.provenance_


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
