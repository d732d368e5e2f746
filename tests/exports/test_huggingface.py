"""A Hugging Face dataset's folder, read again by `datasets`."""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from tests.exports.cleaned import (
    IDS,
    ODD,
    left_for_review,
    one,
    picture,
    several,
    with_pictures,
    with_texts,
)

from latentlabels.errors import MissingPackageError, TableError
from latentlabels.exports.formats import ExportFormat, export
from latentlabels.exports.rows import CleanedRows

HUGGINGFACE = ExportFormat.HUGGINGFACE


def same_facts(read: datasets.Dataset, rows: CleanedRows) -> None:
    assert read["key"][:] == rows.ids.column(0).to_pylist()
    assert read["given"][:] == rows.labels.given
    assert read["verified"][:] == rows.labels.verified.tolist()
    for told, row in zip(read["probabilities"][:], rows.labels.probabilities, strict=True):
        if told is None:
            assert np.isnan(row).all()
        else:
            assert np.array_equal(np.array(told, np.float32), row)


@pytest.mark.parametrize("ids", IDS)
def test_any_number_of_labels_comes_back(ids: str, tmp_path: Path) -> None:
    rows = several(IDS[ids])
    export(rows, HUGGINGFACE, tmp_path / "out")
    read = datasets.load_from_disk(tmp_path / "out")
    same_facts(read, rows)
    assert read.column_names == ["key", "given", "verified", "probabilities", "reasons", "labels"]
    kind = read.features["labels"].feature
    assert kind.names == list(ODD)
    assert [[kind.int2str(unit) for unit in units] for units in read["labels"]] == (
        rows.labels.proposed
    )


def test_what_is_left_for_review_comes_back(tmp_path: Path) -> None:
    rows = left_for_review(several())
    assert rows.told is not None
    export(rows, HUGGINGFACE, tmp_path / "out")
    read = datasets.load_from_disk(tmp_path / "out")
    same_facts(read, rows)
    for name in rows.told.column_names:
        assert read[name][:] == rows.told.column(name).to_pylist()


def test_one_label_of_several_comes_back(tmp_path: Path) -> None:
    rows = with_texts(one())
    assert rows.examples is not None
    export(rows, HUGGINGFACE, tmp_path / "out")
    read = datasets.load_from_disk(tmp_path / "out")
    same_facts(read, rows)
    kind = read.features["label"]
    assert [[kind.int2str(unit)] for unit in read["label"]] == rows.labels.proposed
    assert read["text"][:] == rows.examples.column.to_pylist()


def test_pictures_are_in_the_folder_and_no_longer_needed_where_they_were(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    rows = with_pictures(several(), tmp_path / "pictures")
    export(rows, HUGGINGFACE, tmp_path / "out")
    for path in (tmp_path / "pictures").iterdir():
        path.unlink()
    read = datasets.load_from_disk(tmp_path / "out").cast_column(
        "image", datasets.Image(decode=False)
    )
    assert [cell["bytes"] for cell in read["image"]] == [picture(row) for row in range(5)]


def test_a_picture_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    rows = with_pictures(several(), tmp_path)
    (tmp_path / "pict ure3.png").unlink()
    with pytest.raises(TableError, match=r"Row 3 of column 'image' .* not there: .*ure3"):
        export(rows, HUGGINGFACE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_the_dataset_needs_is_told_of(tmp_path: Path) -> None:
    rows = several()
    rows = CleanedRows(rows.ids.rename_columns(["labels"]), rows.labels)
    with pytest.raises(TableError, match="'labels' of its own"):
        export(rows, HUGGINGFACE, tmp_path / "out")


def test_without_datasets_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'latentlabels\[exports\]'"):
        export(several(), HUGGINGFACE, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
