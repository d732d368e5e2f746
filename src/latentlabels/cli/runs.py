"""A run's folder and what belongs to it, as commands take them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from latentlabels.cli.roles import roles_in
from latentlabels.cli.rows import image_folder
from latentlabels.description import Description, space_of
from latentlabels.errors import TableError
from latentlabels.results import MODEL
from latentlabels.runs.opening import open_run
from latentlabels.runs.run import Run

RunFolder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder that clean or apply has left.")
]


@dataclass(frozen=True)
class RunModelOptions:
    """Which model a run is of."""

    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="The model that cleaned; by default RUN/model."
        ),
    ] = None

    def model_of(self, run: Path) -> Path:
        """The model's folder.

        Raises:
            TableError: the run has no folder.
        """
        if not run.is_dir():
            raise TableError(f"The folder of a run is wanted, and {run} is none.")
        return self.model or run / MODEL


@dataclass(frozen=True)
class ShownRunOptions(RunModelOptions):
    """What of a run is shown."""

    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="The table that was cleaned; by default the one that the run names, if it lies "
            "beside the run, in it, or here.",
        ),
    ] = None
    show: Annotated[
        list[str] | None,
        typer.Option(
            "--show",
            metavar="COLUMN",
            help="What to show of a row, by default the model's input, or in the place of vectors "
            "the table's column of pictures. Repeat for several.",
        ),
    ] = None
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where images' paths start, by default the table's folder. No file outside it is "
            "shown.",
        ),
    ] = None

    def open(self, run: Path, described: Description) -> Run:
        """The run beside its table.

        Args:
            run: its folder.
            described: the model that cleaned.

        Raises:
            TableError: files that are not there, or do not belong together.
        """
        roles = roles_in(described.provenance)
        return open_run(
            run,
            space_of(described.clean),
            # A model elsewhere does not say what table was cleaned with it.
            described.provenance if self.model is None else {},
            table=self.table,
            inputs=roles.input,
            kind=roles.input_kind,
            show=self.show or [],
            pictures=None if self.folder is None else image_folder(run, self.folder),
        )
