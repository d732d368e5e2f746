"""What people decided in a review, as verified rows of a fit, and the model it starts from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latentlabels.cli.console import Voice
from latentlabels.cli.options import BackboneOptions, ReviewOptions
from latentlabels.cli.roles import Roles
from latentlabels.cli.rows import Rows
from latentlabels.data.cells import Kind
from latentlabels.data.labels import Column
from latentlabels.errors import DecisionsError, LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.results import MODEL
from latentlabels.review.decisions import decided_rows
from latentlabels.store import DESCRIPTION


def with_decisions(rows: Rows, roles: Roles, options: ReviewOptions, sha256: str) -> Rows:
    """The rows with the clean labels that were decided, in the place of what was there.

    Decided training rows are verified; others keep their part, in which they choose the epoch or
    score.

    Args:
        rows: all rows of the table.
        roles: of its columns.
        options: with the files of decisions, of which a later one counts more.
        sha256: of the table.

    Raises:
        DecisionsError: a file that holds no decisions, or none of this table.
    """
    if not options.decisions:
        return rows
    clean, form = rows.clean.cells, rows.clean.form
    decided = np.zeros(len(rows), dtype=np.bool_)
    for path in options.decisions:
        subject, found = decided_rows(path, rows.ids, sha256, named=roles.id is not None)
        kind = Kind.MULTICLASS if subject.exclusive else Kind.MULTILABEL
        if roles.clean_form is not None and roles.clean_form.kind != kind:
            raise DecisionsError(
                f"{path} is about {kind} labels, and those of the table are "
                f"{roles.clean_form.kind}. Say --clean-kind {kind}."
            )
        form = "classes" if subject.exclusive else "names"
        for row, names in found.items():
            clean[row] = list(names)
            decided[row] = True
    column = Column.of(clean, form)
    verified = rows.verified | (decided & (rows.split == "train"))
    return replace(rows, clean=column, verified=verified)


def model_to_start_from(
    options: ReviewOptions, backbone: BackboneOptions, voice: Voice
) -> RobustClassifier | None:
    """The model whose weights a fit starts from: the one that is named, or that was reviewed.

    Raises:
        LatentLabelsError: options that contradict each other, or a folder that holds no model.
    """
    folder = options.warm_start
    if options.cold_start:
        if folder is not None:
            raise LatentLabelsError("--warm-start and --cold-start exclude each other.")
        return None
    if folder is None and options.decisions:
        folder = options.decisions[-1].parent / MODEL
        if not (folder / DESCRIPTION).is_file():
            voice.warn(
                f"there is no model beside {options.decisions[-1]}, so this fit starts anew: name "
                "one with --warm-start."
            )
            return None
    if folder is None:
        return None
    model: RobustClassifier = RobustClassifier.load(
        folder, backbone=backbone.backbone, weights=backbone.weights
    )
    return model
