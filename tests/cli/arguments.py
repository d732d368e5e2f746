"""The table of the tests in numbers, and the arguments that commands are given for it."""

from __future__ import annotations

ROWS = 120
TRAINING, VALIDATION = 80, 100
WORDS = {"cat": "kitty", "dog": "puppy", "sky": "blue"}
# A model that is trained within a second or two.
SMALL = (
    *("--epochs", "2", "--chains", "5", "--sweeps", "5", "--hidden-layers", "8"),
    *("--auxiliary", "regression"),
)
COLUMNS = ("--input", "x", "--noisy", "tags", "--clean", "labels")
PROTOCOL = ("--verified", "verified", "--split", "split", "--id", "key")
