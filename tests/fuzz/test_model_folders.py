"""Whatever stands in a model's folder, loading it works or ends with one sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.small_images import Eye, pictures
from tests.small_tables import QUICK, names_of, table_of_classes, table_of_tags

from latentlabels import RobustClassifier
from latentlabels.errors import BackboneError, LatentLabelsError, ModelFolderError

WEIGHTS = "model.safetensors"
HEADER_LENGTH = 8
MODELS = 4


class Saved:
    """A model's files, and what it takes to use it.

    No dataclass: Hypothesis prints all of one.

    Args:
        folder: where the model was saved.
        x: some examples.
        noisy: their noisy labels.
        backbone: the module it was fitted with.
    """

    def __init__(self, folder: Path, x: Any, noisy: Any, backbone: Any = None) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.x = x
        self.noisy = noisy
        self.backbone = backbone


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Saved]]:
    """Tiny models of several kinds."""
    tags, classes, images = table_of_tags(), table_of_classes(), pictures(rows=20)
    noisy = names_of(tags.noisy, "abc")
    folder = tmp_path_factory.mktemp("saved")
    models: list[Saved] = []

    def keep(model: RobustClassifier, x: Any, noisy: Any, backbone: Any = None) -> None:
        place = folder / str(len(models))
        model.save(place, provenance={"columns": {"input": ["x"]}, "rows": 60})
        models.append(Saved(place, x[:3], noisy[:3], backbone))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentlabels.inputs.default_cache_folder", lambda: folder / "cache")
        several = {**QUICK, "hidden": 2, "noisy_link": True, "students": 2}
        model = RobustClassifier(**several).fit(tags.x, noisy, names_of(tags.clean, ["x", 2, 3.5]))
        keep(model, tags.x, noisy)
        both = {"ann": classes.noisy, "bob": classes.noisy}
        model = RobustClassifier(**QUICK).fit(classes.x, both, classes.clean)
        keep(model, classes.x, classes.noisy)
        for tune in ("head", "all"):
            options = {**QUICK, "input_kind": "image", "image_size": 12, "tune": tune}
            model = RobustClassifier(**options, precision="float32", backbone=Eye())
            model.fit(images.x, images.noisy, images.clean)
            keep(model, images.x, images.noisy, Eye())
        assert len(models) == MODELS
        yield models


# Values that a field may not be prepared for, beside those that stand elsewhere in the file.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2, 3, 100, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 1e-320),
        *(float("nan"), float("inf"), "", "x", "a\nb", "\x1b[2J", "../../x", "/dev/zero", "custom"),
        *("image", "text", "vector", "all", "head", "classes", "names", "hf-hub:a/b", "a/b"),
        *([], {}, [[]], [1, 1], ["x", "x"], {"": None}, "x" * 1000, [0] * 1000),
    ]
)
PLAIN = st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.none(), st.booleans())
VALUES = st.one_of(
    ODD,
    PLAIN,
    st.lists(PLAIN, max_size=3),
    st.dictionaries(st.text(max_size=4), PLAIN, max_size=3),
)


WHERE = st.floats(0, 1, exclude_max=True)


@dataclass(frozen=True)
class Damage:
    """One change of one file.

    Attributes:
        file: its name.
        kind: what is changed: an entry of its JSON, which for weights is the header; some bytes;
            the end, which is cut off; or the whole, which is left out.
        change: of an entry.
        where: how far into the file, or which entry, from 0 to 1.
        other: another entry.
        value: in an entry's place.
        junk: in the bytes' place.
        length: that a changed header claims; None for its own.
    """

    file: str
    kind: str
    change: str
    where: float
    other: float
    value: Any
    junk: bytes
    length: int | None


DAMAGES = st.lists(
    st.builds(
        Damage,
        file=st.sampled_from([*["model.json"] * 6, WEIGHTS, WEIGHTS, "vocabulary.json"]),
        kind=st.sampled_from([*["entry"] * 6, "bytes", "end", "whole"]),
        change=st.sampled_from(["replace", "leave out", "double", "move", "add"]),
        where=WHERE,
        other=WHERE,
        value=VALUES,
        junk=st.binary(max_size=8),
        length=st.sampled_from([*[None] * 8, 0, 1, 2**40, 2**64 - 1]),
    ),
    min_size=1,
    max_size=3,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of every list and object within a value: its parent and its key."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else range(len(value))
    return [(value, key) for key in keys] + [inner for key in keys for inner in places(value[key])]


def changed_json(content: bytes, damage: Damage) -> bytes:
    """JSON with an entry replaced, left out, doubled, moved or raised by one."""
    try:
        value = json.loads(content)
    except ValueError:
        return changed_bytes(content, damage)
    there = places(value)
    if not there:
        return json.dumps(damage.value).encode()
    parent, key = there[int(damage.where * len(there))]
    other, place = there[int(damage.other * len(there))]
    match damage.change:
        case "replace":
            parent[key] = damage.value
        case "leave out":
            del parent[key]
        case "double" if isinstance(parent, list):
            parent.append(parent[key])
        case "double":
            parent[f"{place}"] = parent[key]
        case "move":
            parent[key] = copy.deepcopy(other[place])
        case "add" if isinstance(parent[key], int):
            parent[key] += 1
    return json.dumps(value).encode()


def changed_bytes(content: bytes, damage: Damage) -> bytes:
    """Bytes with a few of them overwritten."""
    start = int(damage.where * len(content))
    return content[:start] + damage.junk + content[start + int(damage.other * 9) :]


def changed_header(content: bytes, damage: Damage) -> bytes:
    """A safetensors file with another header, whose length may be a lie."""
    stop = HEADER_LENGTH + int.from_bytes(content[:HEADER_LENGTH], "little")
    header = changed_json(content[HEADER_LENGTH:stop], damage)
    length = len(header) if damage.length is None else damage.length
    return length.to_bytes(HEADER_LENGTH, "little") + header + content[stop:]


def damaged(content: bytes, damage: Damage) -> bytes | None:
    """A file's bytes with a change; None for a file that is left out."""
    match damage.kind:
        case "entry" if damage.file == WEIGHTS:
            return changed_header(content, damage)
        case "entry":
            return changed_json(content, damage)
        case "bytes":
            return changed_bytes(content, damage)
        case "end":
            return content[: int(damage.where * len(content))]
    return None


@settings(deadline=None)
@given(which=st.integers(0, MODELS - 1), damages=DAMAGES)
def test_a_damaged_folder_is_refused_or_loads(
    which: int, damages: list[Damage], saved: list[Saved]
) -> None:
    """And what loads can be used: any error is one of ours, in one line."""
    one = saved[which]
    files: dict[str, bytes | None] = dict(one.files)
    for damage in damages:
        content = files[damage.file]
        files[damage.file] = None if content is None else damaged(content, damage)
    with TemporaryDirectory() as place:
        folder = Path(place) / "model"
        folder.mkdir()
        for name, content in files.items():
            if content is not None:
                (folder / name).write_bytes(content)
        model = loaded(folder, one.backbone)
        assert [path.name for path in Path(place).iterdir()] == ["model"]
    event("refused" if model is None else "loads")
    if model is None:
        return
    with suppress(LatentLabelsError):
        assert model.predict_proba(one.x).shape == (3, len(model.classes_))
        model.predict(one.x)
        model.clean(one.x, one.noisy)


def loaded(folder: Path, backbone: Any) -> RobustClassifier | None:
    """The model, or None where it is refused in one line."""
    try:
        return RobustClassifier.load(folder, backbone=backbone)
    except (ModelFolderError, BackboneError) as error:
        said = str(error)
    assert "\n" not in said
    return None
