"""CIFAR-10 from a miniature in the binary version's format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike
from PIL import Image
from tests.small_cifar import TEST_CLASSES, TRAIN_CLASSES, pixels_of, record, write_cifar

from latentlabels.auxiliary.transition import symmetric_transition
from latentlabels.data.cifar import load_cifar10
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels, patrini_transition
from latentlabels.errors import LabelError, LatentLabelsError, TableError

NO_NOISE = np.eye(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cifar(tmp_path / "cifar-10-batches-bin")


def test_records_are_read(folder: Path) -> None:
    images = load_cifar10(folder, NO_NOISE, validation=3)
    assert len(images) == 12
    assert images.ids.tolist() == list(range(12))
    assert isinstance(images.images, np.ndarray)
    assert images.images.dtype == np.uint8
    for row in range(12):
        assert np.array_equal(images.images[row], pixels_of(row))
    expected = tuple(CIFAR10_CLASSES[label] for label in TRAIN_CLASSES + TEST_CLASSES)
    assert images.clean == images.noisy == expected
    assert images.clean_names == images.noisy_names == CIFAR10_CLASSES
    assert images.split.tolist() == ["train"] * 7 + ["validation"] * 3 + ["test"] * 2
    assert not images.verified.any()


def test_the_folder_around_will_do(folder: Path) -> None:
    one, other = (load_cifar10(path, NO_NOISE, validation=0) for path in (folder, folder.parent))
    assert one.to_table().equals(other.to_table())
    assert one.split.tolist() == ["train"] * 10 + ["test"] * 2


def test_noise_changes_noisy_classes_alone(folder: Path) -> None:
    images = load_cifar10(folder, patrini_transition(1), validation=3, verified_share=1)
    assert images.noisy[:7] == ("automobile", "airplane", "horse", "dog", "cat", "airplane",
                                "automobile")  # fmt: skip
    assert images.noisy[7:] == ("frog", "horse", "ship", "automobile", "airplane")
    assert images.clean[:5] == ("truck", "bird", "deer", "cat", "dog")
    assert images.verified.tolist() == [True] * 7 + [False] * 5


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_that_of_the_seed(folder: Path, seed: int) -> None:
    transition = symmetric_transition(10, 0.5)
    images = load_cifar10(folder, transition, validation=3, seed=seed)
    noisy = flip_labels(np.array(TRAIN_CLASSES + TEST_CLASSES), transition, seed=seed)
    assert images.noisy == tuple(CIFAR10_CLASSES[number] for number in noisy)


def test_a_table_holds_pngs_and_classes(folder: Path) -> None:
    images = load_cifar10(folder, patrini_transition(1), validation=3, verified_share=0.3)
    table = images.to_table()
    assert table.schema == pa.schema(
        {
            "id": pa.int64(),
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "noisy": pa.string(),
            "clean": pa.string(),
            "split": pa.string(),
            "verified": pa.bool_(),
        }
    )
    for row, cell in enumerate(table["image"].to_pylist()):
        picture = Image.open(io.BytesIO(cell["bytes"]))
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture), pixels_of(row))
        assert cell["path"] is None
    assert tuple(table["noisy"].to_pylist()) == images.noisy
    assert tuple(table["clean"].to_pylist()) == images.clean
    assert table["verified"].to_pylist() == images.verified.tolist()
    assert images.verified.sum() == 2
    assert set(images.split[images.verified]) == {"train"}


def without_a_batch(folder: Path) -> None:
    (folder / "data_batch_4.bin").unlink()


def cut_off(folder: Path) -> None:
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])


def emptied(folder: Path) -> None:
    (folder / "test_batch.bin").write_bytes(b"")


def with_an_eleventh_class(folder: Path) -> None:
    (folder / "data_batch_3.bin").write_bytes(record(4, 5) + record(5, 10))


def with_other_names(folder: Path) -> None:
    (folder / "batches.meta.txt").write_text("apple\naquarium_fish\n")


def in_python_version(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name in ("batches.meta", "data_batch_1", "test_batch"):
        (folder / name).write_bytes(b"\x80\x02.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_a_batch, r"lacks data_batch_4\.bin; it holds batches\.meta\.txt, data_batch_1"),
        (cut_off, r"data_batch_2\.bin has 6145 bytes, and a batch has 3073"),
        (emptied, r"test_batch\.bin has 0 bytes"),
        (with_an_eleventh_class, r"Record 1 of .*data_batch_3\.bin \(from 0\) has the class 10"),
        (with_other_names, r"batches\.meta\.txt should name the classes airplane, .* 'apple"),
        (in_python_version, r"python version \(batches\.meta\), which is made of pickles"),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(TableError, match=message) as caught:
        load_cifar10(folder, NO_NOISE, validation=0)
    assert "cifar-10-binary.tar.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_python_version_in_a_folder_around_is_told(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(TableError, match=r"python version \(cifar-10-batches-py\)"):
        load_cifar10(tmp_path, NO_NOISE)


def test_both_versions_in_one_folder_will_do(folder: Path) -> None:
    (folder / "data_batch_1").write_bytes(b"\x80\x02.")
    assert len(load_cifar10(folder, NO_NOISE, validation=0)) == 12


def test_no_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cifar-10-binary.tar.gz"
    file.write_bytes(b"")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, message in (
        (tmp_path / "nowhere", "nowhere does not exist. CIFAR-10 is read from"),
        (file, "is a file, not a folder. CIFAR-10 is read from"),
        (empty, "data_batch_4.bin and 2 more; it is empty. CIFAR-10 is read from"),
    ):
        with pytest.raises(TableError, match=message):
            load_cifar10(path, NO_NOISE)


@pytest.mark.parametrize("validation", [-1, 10, 5_000])
def test_validation_leaves_training_records(folder: Path, validation: int) -> None:
    with pytest.raises(LatentLabelsError, match=rf"from 0 to 9, .* got {validation}\."):
        load_cifar10(folder, NO_NOISE, validation=validation)


@pytest.mark.parametrize("transition", [np.eye(9), np.ones(10), [[1.0]]])
def test_the_matrix_is_of_ten_classes(folder: Path, transition: ArrayLike) -> None:
    with pytest.raises(LabelError, match=r"a matrix of \(10, 10\)"):
        load_cifar10(folder, transition)
