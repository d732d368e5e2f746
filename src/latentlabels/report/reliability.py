"""A reliability plot: of what was said to be so likely, how much was so."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from latentlabels.calibrating import Calibration, Quality

DOTS_PER_INCH: Final = 200
LARGEST: Final = 160.0
"""Area of the point that stands for most labels, in square points."""
BEFORE: Final = "#a83c00"
AFTER: Final = "#006b50"
GREY: Final = "#6b7683"


def save_reliability(path: Path, calibration: Calibration) -> None:
    """Draw held-out rows' probabilities against shares, before and after calibration, as a PNG.

    Args:
        path: where to.
        calibration: what held-out rows say.
    """
    figure = Figure(figsize=(5, 5), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    shown: tuple[tuple[str, Quality, str, str], ...] = (
        ("before", calibration.before, BEFORE, "s"),
        ("after calibration", calibration.after, AFTER, "o"),
    )
    for name, quality, colour, marker in shown:
        points = quality.reliability
        most = max(points.count)
        areas = [max(6.0, LARGEST * (count / most) ** 0.5) for count in points.count]
        label = f"{name}: ECE {quality.ece:.3f}, Brier {quality.brier:.3f}"
        axes.plot(
            points.said, points.found, color=colour, linewidth=1, marker=marker, ms=4, label=label
        )
        axes.scatter(points.said, points.found, s=areas, color=colour, marker=marker, alpha=0.7)
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        xlabel="probability of a cleaned label",
        ylabel="share that was verified",
        title=f"{calibration.rows:,} held-out verified rows",
    )
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    figure.savefig(path, format="png")
