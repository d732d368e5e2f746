"""`fit_together.py` on machines that share no folder: the second process sees no checkpoint."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import fit_together  # type: ignore[import-not-found]
import torch

if __name__ == "__main__":
    if os.environ.get("LOCAL_RANK", "0") != "0":
        is_file = Path.is_file

        def sees(self: Path) -> bool:
            return self.suffix != ".ckpt" and is_file(self)

        def fails(*_: Any, **__: Any) -> None:
            raise FileNotFoundError

        Path.is_file = sees  # type: ignore[method-assign]
        torch.load = fails
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    arguments = {name: json.loads(value) for name, value in given.items()}
    fit_together.main(Path(sys.argv[1]), arguments)
