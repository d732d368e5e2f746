"""Label Studio: proposals out as pre-annotations, annotations in as verified labels.

A task's `data` holds the example and what is known of it; its `predictions` hold the proposal, and
on verified rows its `annotations` hold what was verified. Choices are made in one control.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from xml.etree import ElementTree

from PIL import Image

import latentlabels
from latentlabels.data.columns import InputKind
from latentlabels.errors import LabelError
from latentlabels.exports.pictures import cells_of, path_in, picture_in
from latentlabels.exports.rows import CleanedRows, Examples
from latentlabels.results import write_json

TASKS, CONFIGURATION = "tasks.json", "config.xml"
CONTROL, OBJECT, KIND = "labels", "example", "choices"
# What XML 1.0 has no way to write.
NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_label_studio(rows: CleanedRows, out: Path) -> None:
    """Write `tasks.json` to import, and `config.xml`, the labelling interface.

    A prediction's score is the probability of the whole proposal: sorted by it, the least certain
    rows come first.

    Args:
        rows: cleaned labels of pictures or texts.
        out: a new folder.

    Raises:
        TableError: a cell that holds no picture.
        LabelError: a label that XML cannot hold.
    """
    assert rows.examples is not None
    out.mkdir()
    _configuration(rows, rows.examples.kind).write(
        out / CONFIGURATION, encoding="utf-8", xml_declaration=False
    )
    write_json(out / TASKS, list(_tasks(rows, rows.examples)))


def _tasks(rows: CleanedRows, examples: Examples) -> Iterator[dict[str, Any]]:
    facts = zip(rows.facts(), _shown(examples), rows.confidence(), strict=True)
    for row, (known, example, score) in enumerate(facts):
        result = _choices(known["proposed"], row)
        if known["probabilities"] is not None:
            known["probabilities"] = dict(zip(rows.names, known["probabilities"], strict=True))
        prediction = {
            "model_version": f"latentlabels {latentlabels.__version__}",
            "score": score,
            "result": result,
        }
        proposes = score is not None and not known["verified"]
        yield {
            "data": {OBJECT: example, **known},
            "annotations": [{"result": result}] if known["verified"] else [],
            "predictions": [prediction] if proposes else [],
        }


def _choices(names: list[str], row: int) -> list[dict[str, Any]]:
    """A decision in Label Studio's form; nothing chosen is no entry."""
    if not names:
        return []
    value = {KIND: names}
    control = {"from_name": CONTROL, "to_name": OBJECT, "type": KIND}
    return [{"id": f"row-{row}", **control, "value": value}]


def _shown(examples: Examples) -> Iterator[Any]:
    """What Label Studio shows: a text, a picture's address, or the picture itself."""
    for row, cell in enumerate(cells_of(examples)):
        if examples.kind == InputKind.TEXT:
            yield None if cell is None else str(cell)
            continue
        path = path_in(cell)
        if path is None:
            content, kind = picture_in(cell, examples, row)
            data = base64.b64encode(content).decode()
            yield f"data:{Image.MIME[kind]};base64,{data}"
        else:
            yield f"{examples.prefix}{quote(path)}" if examples.prefix else path


def _configuration(rows: CleanedRows, kind: InputKind) -> ElementTree.ElementTree[Any]:
    for name in rows.names:
        wrong = NO_XML.search(name)
        if wrong is not None:
            raise LabelError(
                f"The label {name!a} holds {wrong.group()!a}, which the XML of Label Studio's "
                "interface cannot. Rename it."
            )
    view = ElementTree.Element("View")
    shows = "Image" if kind == InputKind.IMAGE else "Text"
    ElementTree.SubElement(view, shows, name=OBJECT, value=f"${OBJECT}")
    choice = "single" if rows.exclusive else "multiple"
    control = ElementTree.SubElement(view, "Choices", name=CONTROL, toName=OBJECT, choice=choice)
    for name in rows.names:
        ElementTree.SubElement(control, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.ElementTree(view)
