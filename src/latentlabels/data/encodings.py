"""Whether a file is text in UTF-8, and why not."""

from __future__ import annotations

import codecs
from typing import BinaryIO, Final

# How text in another encoding begins that says so. UTF-32's first mark begins with UTF-16's.
MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
BLOCK: Final = 1 << 20


def why_no_text(file: BinaryIO) -> str | None:
    """Why a file is no text in UTF-8, as far as a quick look tells; None where it may be some.

    It says that it is in another encoding, or it holds a NUL, as binary files and UTF-16 do. The
    file is left at its start.
    """
    start = file.read(4)
    file.seek(0)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return f"is text in {encoding}. Save it as UTF-8"
    lines = 1
    while block := file.read(BLOCK):
        place = block.find(b"\0")
        if place >= 0:
            line = lines + block.count(b"\n", 0, place)
            return (
                f"holds bytes that are no text, a NUL in line {line}. Take it out, or save the "
                "file as UTF-8 if it is in another encoding"
            )
        lines += block.count(b"\n")
    file.seek(0)
    return None


def why_no_utf8(line: bytes, number: int) -> str | None:
    """Why a line is no text in UTF-8; None where it is some.

    Args:
        line: its bytes.
        number: the line's, from 1.
    """
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return (
            f"is not text in UTF-8 in line {number} (byte 0x{line[error.start]:02x}). Save the "
            "whole file as UTF-8"
        )
    return None
