"""Files of tags that cannot be used are told; what is read of sound ones, test_coco.py shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentlabels.data.image_tags import read_image_tags
from latentlabels.errors import TableError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "9,dog", r"ends in none of \.json, \.jsonl"),
        ("t.json", "", "is not JSON, or damaged"),
        ("t.json", "[" * 100_000, "is not JSON, or damaged"),
        ("t.json", "[]", "should hold one JSON object, not a list"),
        ("t.json", '{"dog": ["9"]}', "Entry 0 of .* 'dog' with "),
        ("t.json", '{"9": "dog"}', "Entry 0 of .* '9' with 'dog'"),
        ("t.json", '{"9": [1]}', "Entry 0 of .* '9' with "),
        ("t.jsonl", '{"image_id": 9, "tags": []}\n{"image_id": 9}', "Line 2 of .* '9' with 'None'"),
        ("t.jsonl", '{"image_id": true, "tags": []}', "Line 1 of .* 'True' with"),
        ("t.jsonl", '{"image_id": -9, "tags": []}', "Line 1 of .* '-9' with"),
        ("t.jsonl", "9\tdog", "Line 1 of .* with 'None'"),
        ("t.jsonl", "[9]", "Line 1 of .* with 'None'"),
        ("t.tsv", "9\tdog\ndog\t9", "Line 2 of .* 'dog' with"),
        ("t.tsv", "9 dog", "Line 1 of .* '9 dog' with"),
        ("t.tsv", "9\tdog\n009\tcat", "has the image 9 twice"),
        ("t.tsv", b"9\tcaf\xe9", "is not text in UTF-8"),
        ("t.json", b'{"9": ["caf\xe9"]}', "is not JSON, or damaged"),
    ],
)
def test_a_file_of_something_else_than_tags_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(TableError, match=message) as caught:
        read_image_tags(path)
    assert "\n" not in str(caught.value)
