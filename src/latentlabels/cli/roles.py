"""Which column plays which part, and how its cells are read: told by options, kept in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from latentlabels.cli.options import (
    ApplyColumns,
    CellOptions,
    FitColumns,
    InputChoice,
    PredictColumns,
)
from latentlabels.data.cells import CellForm, Kind, cell_form
from latentlabels.data.columns import InputKind, columns_told, input_kind, require_column
from latentlabels.data.labels import Vocabulary
from latentlabels.description import first_mistake
from latentlabels.errors import ModelFolderError, TableError, shortened
from latentlabels.estimator import RobustClassifier
from latentlabels.results import RESULT_COLUMNS

ID_COLUMN = "id"
PROVENANCE_KEY = "columns"


@dataclass(frozen=True)
class Roles:
    """Columns by the part they play; None for a part that no column plays.

    Attributes:
        input: columns of inputs.
        input_kind: what they hold.
        noisy: columns of noisy labels.
        noisy_forms: how each of these is read.
        clean: column of clean labels.
        clean_form: how it is read.
        verified: column that says which rows are verified.
        split: column that says which part of the data a row is in.
        id: column that names the rows.
    """

    input: list[str]
    noisy: list[str]
    noisy_forms: list[CellForm]
    clean: str | None = None
    clean_form: CellForm | None = None
    verified: str | None = None
    split: str | None = None
    id: str | None = None
    input_kind: InputKind = InputKind.VECTOR

    def labels(self) -> list[str]:
        """The columns that say something of a row beside its input, each once."""
        several = [*self.noisy, self.clean, self.verified, self.split, self.id]
        return list(dict.fromkeys(name for name in several if name is not None))

    def provenance(self) -> dict[str, Any]:
        """What a model's folder keeps of the roles it was fitted with."""
        return {PROVENANCE_KEY: asdict(self)}


READER: Final = TypeAdapter(Roles)


def roles_for_fitting(table: Any, columns: FitColumns, cells: CellOptions) -> Roles:
    """The roles that options give to a table's columns.

    Raises:
        TableError: an unknown column, one that is named twice, or verified rows without clean ones.
    """
    clean_form = None
    if columns.clean is not None:
        clean_form = cell_form(
            table, columns.clean, delimiter=cells.delimiter, kind=cells.clean_kind
        )
    roles = Roles(
        input=columns.input,
        noisy=columns.noisy,
        noisy_forms=[
            cell_form(table, name, delimiter=cells.delimiter, kind=cells.noisy_kind)
            for name in columns.noisy
        ],
        clean=columns.clean,
        clean_form=clean_form,
        verified=columns.verified,
        split=columns.split,
        id=id_column(table, columns.id),
        input_kind=kind_of_input(table, columns),
    )
    _check(table, roles)
    return roles


def kind_of_input(table: Any, columns: FitColumns) -> InputKind:
    """What the inputs are, found out where it is not said.

    Raises:
        TableError: an unknown column, or a kind where a column is wanted.
    """
    kinds = set(InputKind) - set(table.column_names)
    for name in columns.input:
        if name in kinds:
            raise TableError(
                f"The table has no column {name!r}, and --input names a column. What it holds says "
                f"--input-kind {name}. The table's columns are {columns_told(table)}."
            )
    if columns.input_kind != InputChoice.AUTO:
        return InputKind(columns.input_kind)
    return input_kind(table, columns.input)


def roles_for_applying(table: Any, model: RobustClassifier, columns: ApplyColumns) -> Roles:
    """The roles of fitting, where options do not say otherwise.

    The table need not have the columns of clean labels, verified rows and splits that fitting had.
    Where it can no longer be told which rows are verified, no clean label is read.

    Raises:
        TableError: an unknown column, or as many noisy ones as the model does not expect.
    """
    fitted = fitted_roles(model)
    noisy = columns.noisy or fitted.noisy
    kinds = [_kind(vocabulary) for vocabulary in model.noisy_space_.vocabularies]
    if len(noisy) != len(kinds):
        raise TableError(
            f"The model was fitted on {len(kinds)} noisy columns, got {len(noisy)}. "
            "Name them with --noisy, in the order of fitting."
        )
    delimiters = [form.delimiter for form in fitted.noisy_forms] or [None] * len(kinds)
    verified = columns.verified or _if_there(table, fitted.verified)
    clean = columns.clean
    if clean is None and (verified is not None or fitted.verified is None):
        clean = _if_there(table, fitted.clean)
    if clean is None and columns.verified is None:
        verified = None
    clean_form = None
    if clean is not None:
        known = fitted.clean_form.delimiter if fitted.clean_form else None
        kind = _kind(model.clean_space_.vocabularies[0])
        clean_form = cell_form(table, clean, delimiter=columns.delimiter or known, kind=kind)
    roles = Roles(
        input=columns.input or fitted.input,
        noisy=noisy,
        noisy_forms=[
            cell_form(table, name, delimiter=columns.delimiter or known, kind=kind)
            for name, known, kind in zip(noisy, delimiters, kinds, strict=True)
        ],
        clean=clean,
        clean_form=clean_form,
        verified=verified,
        split=columns.split or _if_there(table, fitted.split),
        id=id_column(table, columns.id or _if_there(table, fitted.id)),
        input_kind=fitted.input_kind,
    )
    _check(table, roles)
    return roles


def roles_for_predicting(table: Any, model: RobustClassifier, columns: PredictColumns) -> Roles:
    """Inputs and names of rows, as in fitting where options do not say otherwise."""
    fitted = fitted_roles(model)
    roles = Roles(
        input=columns.input or fitted.input,
        noisy=[],
        noisy_forms=[],
        id=id_column(table, columns.id or _if_there(table, fitted.id)),
        input_kind=fitted.input_kind,
    )
    _check(table, roles)
    return roles


def fitted_roles(model: RobustClassifier) -> Roles:
    """The roles a model was fitted with; none where its folder does not say.

    Raises:
        ModelFolderError: what it says are no roles.
    """
    return roles_in(model.provenance_)


def roles_in(provenance: Mapping[str, Any]) -> Roles:
    """The roles that a model's provenance tells of; none where it does not.

    Raises:
        ModelFolderError: what it says are no roles.
    """
    if PROVENANCE_KEY not in provenance:
        return Roles([], [], [])
    try:
        return READER.validate_python(provenance[PROVENANCE_KEY])
    except ValidationError as error:
        raise ModelFolderError(
            "model.json does not describe the columns of fitting "
            f"({first_mistake(error)}). Fit the model anew."
        ) from error


def _check(table: Any, roles: Roles) -> None:
    if not roles.input:
        raise TableError("The model does not say what its inputs are: name them with --input.")
    if roles.verified is not None and roles.clean is None:
        raise TableError("--verified says whose clean labels may be read: name them with --clean.")
    if roles.input_kind != InputKind.VECTOR and len(roles.input) > 1:
        raise TableError(
            f"--input is one column of {roles.input_kind}s, got {len(roles.input)} columns."
        )
    for option, names in (("--input", roles.input), ("--noisy", roles.noisy)):
        for name in names:
            require_column(table, name)
            if names.count(name) > 1:
                raise TableError(
                    f"{option} {shortened(name)} is given twice. Name each column once."
                )
    if roles.id in RESULT_COLUMNS:
        raise TableError(f"The results have a column {roles.id!r} of their own: rename --id's.")
    for name in filter(None, (roles.clean, roles.verified, roles.split, roles.id)):
        require_column(table, name)


def id_column(table: Any, name: str | None) -> str | None:
    """The column that names the rows: the one that is asked for, or `id` if there is one."""
    return name if name is not None else _if_there(table, ID_COLUMN)


def _if_there(table: Any, name: str | None) -> str | None:
    return name if name in table.column_names else None


def _kind(vocabulary: Vocabulary) -> Kind:
    return Kind.MULTICLASS if vocabulary.exclusive else Kind.MULTILABEL
