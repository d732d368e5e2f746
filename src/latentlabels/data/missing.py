"""What the libraries people keep tables in write where there is nothing."""

from __future__ import annotations

import math
from typing import Any


def is_missing(cell: Any) -> bool:
    """None, NaN, or pandas' NA."""
    return (
        cell is None
        or type(cell).__name__ == "NAType"
        or (isinstance(cell, float) and math.isnan(cell))
    )
