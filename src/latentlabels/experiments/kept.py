"""Finished runs in a file, written after each of them, so that a stopped command goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from latentlabels.errors import LatentLabelsError, TableError
from latentlabels.results import write_json

RESULTS: Final = "results.json"
SCHEMA: Final = 1
SHOWN: Final = 3


class KeptResults:
    """The finished runs of a target, in `results.json` of a folder.

    Args:
        folder: where; it is made where there is none.
        target: the table or figure.
        settings: by column, what decides the results, as JSON values.
        overwrite: whether to begin anew if there are results.

    Raises:
        TableError: the folder is a file, or holds a damaged file.
        LatentLabelsError: it holds results of another target or of other settings.
    """

    def __init__(
        self,
        folder: Path,
        target: str,
        settings: Mapping[str, Mapping[str, Any]],
        *,
        overwrite: bool = False,
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise TableError(f"--out wants a folder, {folder} is a file.")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / RESULTS
        self.target = target
        self.settings: dict[str, Any] = {}
        self.cells: dict[str, dict[str, Any]] = {}
        if self.path.exists() and not overwrite:
            self._read()
        for column, own in settings.items():
            self._require_same(column, own)
            self.settings[column] = dict(own)

    def add(self, key: str, outcome: dict[str, Any]) -> None:
        """Keep a finished run; the file is whole at any time."""
        self.cells[key] = outcome
        aside = self.path.with_name(f".{self.path.name}.partial")
        try:
            write_json(
                aside,
                {
                    "schema": SCHEMA,
                    "target": self.target,
                    "settings": self.settings,
                    "cells": self.cells,
                },
            )
            aside.replace(self.path)
        finally:
            aside.unlink(missing_ok=True)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            schema, target = content["schema"], content["target"]
            self.settings, self.cells = dict(content["settings"]), dict(content["cells"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TableError(
                f"{self.path} is damaged, or another program's: {type(error).__name__}. Remove it, "
                "name another --out, or begin anew with --overwrite."
            ) from error
        if (schema, target) != (SCHEMA, self.target):
            raise LatentLabelsError(
                f"{self.path} holds results of {target}, not of {self.target}. Name another --out, "
                "or begin anew with --overwrite."
            )

    def _require_same(self, column: str, settings: Mapping[str, Any]) -> None:
        there = self.settings.get(column, settings)
        # As JSON gives them back: a tuple is a list there.
        here = json.loads(json.dumps(settings))
        if there != here and there is not settings:
            changed = differences(there, here)
            more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
            raise LatentLabelsError(
                f"{self.path} holds results of other settings for {column} "
                f"({'; '.join(changed[:SHOWN])}{more}). Name another --out, or begin anew with "
                "--overwrite."
            )


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Where two settings differ, each as "name: value there, value here"."""
    names = dict.fromkeys([*there, *here])
    return [
        f"{name}: {there.get(name)!r} there, {here.get(name)!r} here"
        for name in names
        if there.get(name) != here.get(name)
    ]
