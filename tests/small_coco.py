"""A miniature of COCO 2014 on disk, with the real files' names, keys and category numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Captions: TypeAlias = Mapping[str, Mapping[int, list[str]]]
Objects: TypeAlias = Mapping[str, Sequence[tuple[int, int]]]

# Not in the order of their numbers, as in the real files.
CAPTIONS: Captions = {
    "train2014": {
        34: ["A person, a dog and a Dining-Table"],
        9: ["A man's dog on a dining table.", "Two dogs; one cat!"],
        30: ["The wine in a glass: a toast, a toast"],
        25: ["A dog near a wine glass."],
    },
    "val2014": {
        133: ["DOG"],
        42: ["toaster toaster toaster toaster"],
        74: [],
        73: ["A wine glass", "a 2nd glass"],
    },
}
CATEGORIES = {
    1: ("person", "person"),
    17: ("animal", "cat"),
    18: ("animal", "dog"),
    46: ("kitchen", "wine glass"),
    67: ("furniture", "dining table"),
    80: ("appliance", "toaster"),
}
# Image and category; a crowd's outline is written in another way than others.
OBJECTS: Objects = {
    "train2014": [(9, 18), (9, 67), (9, 18), (25, 46), (34, 1), (34, 18)],
    "val2014": [(42, 80), (73, 46), (74, 17), (133, 18)],
}
ROWS = [9, 25, 30, 34, 42, 73, 74, 133]


def name_of(release: str, image: int) -> str:
    return f"COCO_{release}_{image:012}.jpg"


def captions_document(release: str, written: Captions = CAPTIONS) -> dict[str, Any]:
    captions = [(image, text) for image, texts in written[release].items() for text in texts]
    return {
        "info": {"description": "COCO 2014 Dataset", "version": "1.0", "year": 2014},
        "images": [
            {
                "license": 3,
                "file_name": name_of(release, image),
                "coco_url": f"http://images.cocodataset.org/{name_of(release, image)}",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 11:18:45",
                "flickr_url": f"http://farm9.staticflickr.com/8186/8119368305_{image}_z.jpg",
                "id": image,
            }
            for image in written[release]
        ],
        "licenses": [{"url": "http://creativecommons.org", "id": 3, "name": "Attribution"}],
        "annotations": [
            {"image_id": image, "id": 48 + place, "caption": text}
            for place, (image, text) in enumerate(captions)
        ],
    }


def instances_document(
    release: str, written: Captions = CAPTIONS, objects: Objects = OBJECTS
) -> dict[str, Any]:
    outlines: dict[int, Any] = {0: [[1.0, 2.0, 3.5]], 1: {"counts": [272, 2], "size": [480, 640]}}
    return {
        **captions_document(release, written),
        "annotations": [
            {
                "segmentation": outlines[category == 1],
                "area": 702.1,
                "iscrowd": int(category == 1),
                "image_id": image,
                "bbox": [473.07, 395.93, 38.65, 28.67],
                "category_id": category,
                "id": 156 + place,
            }
            for place, (image, category) in enumerate(objects[release])
        ],
        "categories": [
            {"supercategory": group, "id": number, "name": name}
            for number, (group, name) in CATEGORIES.items()
        ],
    }


def write_coco(
    coco: Path,
    written: Captions = CAPTIONS,
    objects: Objects = OBJECTS,
    picture: Callable[[int], bytes] = lambda _: b"\xff\xd8\xff",
) -> Path:
    """Write both releases into a folder that is made; returns it.

    Args:
        coco: the folder.
        written: captions of each image.
        objects: image and category of each object.
        picture: the file of an image.
    """
    (coco / "annotations").mkdir(parents=True)
    for release in written:
        for kind, document in (
            ("captions", captions_document(release, written)),
            ("instances", instances_document(release, written, objects)),
        ):
            path = coco / "annotations" / f"{kind}_{release}.json"
            path.write_text(json.dumps(document))
        (coco / release).mkdir()
        for image in written[release]:
            (coco / release / name_of(release, image)).write_bytes(picture(image))
    return coco
