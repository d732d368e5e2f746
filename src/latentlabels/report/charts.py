"""Charts as numbers: where lines, points and ticks of an SVG lie. Templates draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.ticker import MaxNLocator

from latentlabels.report.record import CalibrationTold, LearningCurveTold, Points

WIDTH, HEIGHT = 360.0, 220.0
SQUARE: Final = 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 20.0, 34.0
TICKS: Final = 5
LARGEST_POINT: Final = 7.0
SMALLEST_POINT: Final = 1.5


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A point of a line.

    Attributes:
        x: from the left.
        y: from the top.
        radius: its size.
        title: what it says.
    """

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Line:
    """A line and its points.

    Attributes:
        style: the class that its style has.
        path: points of an SVG polyline.
        dots: points that are drawn.
    """

    style: str
    path: str
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: what it shows, for whoever does not see it too.
        x_name: what the horizontal axis has.
        y_name: what the vertical axis has.
        width: of the whole.
        height: of the whole.
        x: ticks of the horizontal axis.
        y: of the vertical axis.
        lines: what is drawn.
    """

    title: str
    x_name: str
    y_name: str
    width: float
    height: float
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    lines: tuple[Line, ...]
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


class _Axis:
    """From values to places between two ends, with ticks at round values."""

    def __init__(
        self, values: Sequence[float], start: float, stop: float, *, whole: bool = False
    ) -> None:
        low, high = min(values), max(values)
        ticks = [float(tick) for tick in MaxNLocator(TICKS, integer=whole).tick_values(low, high)]
        # Ticks are apart by a round step: the ends are those around all values.
        self.low = max((tick for tick in ticks if tick <= low), default=low)
        self.high = min((tick for tick in ticks if tick >= high), default=high)
        self.start, self.stop = start, stop
        inside = [tick for tick in ticks if self.low <= tick <= self.high]
        self.ticks = tuple(Tick(self(tick), _told(tick)) for tick in inside)

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return round(self.start + (value - self.low) / span * (self.stop - self.start), 2)


def curve(
    title: str, epochs: Sequence[float], values: Sequence[float | None], best: int | None = None
) -> Chart | None:
    """A value over epochs; None where there are no numbers.

    Args:
        title: what it is.
        epochs: from 0; they are shown from 1.
        values: one an epoch; None where it has none.
        best: the epoch whose weights were kept.
    """
    known = [(e + 1, v) for e, v in zip(epochs, values, strict=True) if v is not None]
    if not known:
        return None
    x = _Axis([e for e, _ in known], LEFT, WIDTH - RIGHT, whole=True)
    y = _Axis([v for _, v in known], HEIGHT - BOTTOM, TOP)
    dots = tuple(
        Dot(x(e), y(v), 4.0, f"kept: epoch {e:.0f}, {_told(v)}")
        for e, v in known
        if best is not None and e == best + 1
    )
    path = " ".join(f"{x(e)},{y(v)}" for e, v in known)
    line = Line("after", path, dots)
    return Chart(title, "epoch", title, WIDTH, HEIGHT, x.ticks, y.ticks, (line,))


def learning_chart(told: LearningCurveTold) -> Chart:
    """The score that is expected of so many verified rows, its interval, and what was measured."""
    rows = [score.rows for score in told.expected]
    ends = [value for score in told.expected for value in (score.low, score.high)]
    x = _Axis([0, *rows, *told.sizes], LEFT, WIDTH - RIGHT, whole=True)
    y = _Axis([*ends, *told.scores], HEIGHT - BOTTOM, TOP)

    def drawn(style: str, values: Sequence[float], dots: tuple[Dot, ...] = ()) -> Line:
        path = " ".join(f"{x(n)},{y(value)}" for n, value in zip(rows, values, strict=True))
        return Line(style, path, dots)

    measured = tuple(
        Dot(x(size), y(score), 4.0, f"measured with {size:,} rows: {score:.1%}")
        for size, score in zip(told.sizes, told.scores, strict=False)
    )
    lines = (
        drawn("ideal", [score.low for score in told.expected]),
        drawn("ideal", [score.high for score in told.expected]),
        drawn("after", [score.mean for score in told.expected], measured),
    )
    title = f"{told.measure_told} of cleaned labels"
    return Chart(title, "verified rows", title, WIDTH, HEIGHT, x.ticks, y.ticks, lines)


def reliability_chart(told: CalibrationTold) -> Chart:
    """What was said to be so likely, and how much of it was so."""
    x = _Axis([0.0, 1.0], LEFT, SQUARE - RIGHT)
    y = _Axis([0.0, 1.0], SQUARE - BOTTOM, TOP)
    lines = (
        Line("ideal", f"{x(0)},{y(0)} {x(1)},{y(1)}"),
        _reliability("before", told.before.reliability, x, y),
        _reliability("after", told.after.reliability, x, y),
    )
    return Chart(
        "Probability of a cleaned label against the share that was verified",
        "said to be so likely",
        "share that was so",
        SQUARE,
        SQUARE,
        x.ticks,
        y.ticks,
        lines,
    )


def _reliability(style: str, points: Points, x: _Axis, y: _Axis) -> Line:
    three = list(zip(points.said, points.found, points.count, strict=False))
    most = max((count for *_, count in three), default=1) or 1
    dots = tuple(
        Dot(
            x(said),
            y(found),
            round(max(SMALLEST_POINT, LARGEST_POINT * math.sqrt(max(0, count) / most)), 2),
            f"said {said:.0%}, found {found:.0%} of {count:,}",
        )
        for said, found, count in three
    )
    return Line(style, " ".join(f"{dot.x},{dot.y}" for dot in dots), dots)


def _told(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
