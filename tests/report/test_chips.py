"""Words broken into lines: none lost, none out of order, none wider than its card."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from latentlabels.report.chips import ADDED, CHIP_SPACE, KEPT, REMOVED, WORD, Chip, flow

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)


def line_width(line: list[Chip]) -> float:
    return sum(chip.width for chip in line) + CHIP_SPACE * (len(line) - 1)


@settings(max_examples=50)
@given(
    st.lists(st.builds(Chip, PRINTABLE, st.sampled_from([KEPT, ADDED, REMOVED, WORD])), max_size=6),
    st.floats(40, 300),
)
def test_lines_keep_the_order_and_fit_the_card(chips: list[Chip], width: float) -> None:
    lines = flow(chips, width)
    assert all(line and line_width(line) <= width + 1e-6 for line in lines)
    placed = [chip for line in lines for chip in line]
    assert len(placed) == len(chips)
    for chip, shown in zip(chips, placed, strict=True):
        assert shown.style == chip.style
        assert shown == chip or (chip.width > width and shown.word.endswith("…"))


def test_a_line_breaks_only_where_it_has_to() -> None:
    chips = [Chip(word, WORD) for word in ("ink", "paper", "pen")]
    wide = sum(chip.width for chip in chips) + 100
    assert flow(chips, wide) == [chips]
    assert flow(chips, chips[1].width) == [[chip] for chip in chips]
