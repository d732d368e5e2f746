"""`RobustClassifier`: the whole method behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor

from latentlabels.cleaning import CleanedLabels, clean_labels
from latentlabels.data.labels import (
    Cell,
    Column,
    Form,
    LabelSpace,
    Name,
    Vocabulary,
    encode,
    present,
)
from latentlabels.errors import LabelError, LatentLabelsError, ModelFolderError
from latentlabels.evaluation.metrics import score
from latentlabels.fitting import ModelSettings, fit_model
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule
from latentlabels.preparation import (
    clean_states,
    noisy_states,
    prepare,
    read_labels,
    verified_rows,
)
from latentlabels.store import StoredModel, as_json, load_model, save_model
from latentlabels.training.fit import BATCH
from latentlabels.training.settings import TrainingSettings


class RobustClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that learns from many noisy and few verified labels, and cleans the noisy ones.

    A conditional random field over noisy, clean and hidden label units sits on a network; see
    `docs/notation.md`.

    Args:
        auxiliary: what is known of noisy → clean: "regression", "rbm" or "transition", fitted on
            the verified rows; "auto", the one that predicts held-out verified rows best; a
            transition matrix T[c, n] = p(y = n | ŷ = c); or an `Auxiliary`.
        hidden: hidden units that carry correlations among noisy labels.
        pairwise: whether the CRF joins clean and noisy labels. Without, the auxiliary alone does.
        noisy_link: whether the network speaks of the noisy labels too (the paper's x–y link).
        start: where the CRF's weights start: "auxiliary", at its weights, or "zero", as in the
            paper.
        alpha_start: weight of the auxiliary in the posterior at the beginning.
        alpha_end: its weight at the end.
        alpha_epochs: epochs in which it falls from one to the other.
        chains: Gibbs chains a row, where the negative phase is sampled.
        sweeps: Gibbs sweeps an update; at most so many, where they adapt.
        adaptive_sweeps: whether chains that have forgotten where an update began stop there.
        hidden_layers: widths of the network's fully connected layers.
        dropout: share of features left out in training.
        epochs: passes over the data at most.
        patience: epochs without a better validation score after which training stops.
        batch_size: rows a batch; fewer where the data would not fill ten batches an epoch.
        learning_rate: Adam's step size for the network.
        crf_learning_rate: Adam's step size for the CRF.
        weight_decay: of network and CRF.
        averaging: decay of the running average of the weights that is kept, a step; 0 for none.
        validation_fraction: share of the verified rows that is held out to choose the epoch, where
            no validation rows are given and at least 20 would be held out. Their noisy labels are
            still trained on.
        clean_labels: the clean vocabulary; by default the labels that occur among verified and
            validation rows, or the noisy classes where the verified classes are among them.
        noisy_labels: the noisy vocabulary; by default the labels that occur.
        checkpoints: a folder for training's checkpoints; none are kept by default.
        random_state: seed of everything random.
        verbose: whether to show a progress bar.

    Attributes:
        classes_: the clean vocabulary, in the order of `predict_proba`'s columns.
        n_features_in_: number of input columns.
        clean_space_: the clean labels' space.
        noisy_space_: the noisy labels' space.
        model_: the trained `RobustModel`.
        history_: what happened in training; not kept by `save`.
        auxiliary_choice_: which auxiliary was taken, and how well each did; not kept by `save`.
        provenance_: for a loaded model, what its maker wrote about it.

    Source: Vahdat (2017).
    """

    def __init__(
        self,
        *,
        auxiliary: str | ArrayLike | Auxiliary = "auto",
        hidden: int = 0,
        pairwise: bool = True,
        noisy_link: bool = False,
        start: str = "auxiliary",
        alpha_start: float = 2.0,
        alpha_end: float = 0.1,
        alpha_epochs: float = 10.0,
        chains: int = 50,
        sweeps: int = 100,
        adaptive_sweeps: bool = True,
        hidden_layers: tuple[int, ...] = (512, 512),
        dropout: float = 0.5,
        epochs: int = 60,
        patience: int = 15,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        crf_learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        averaging: float = 0.99,
        validation_fraction: float = 0.2,
        clean_labels: Sequence[Name] | None = None,
        noisy_labels: Sequence[Name] | None = None,
        checkpoints: str | Path | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.auxiliary = auxiliary
        self.hidden = hidden
        self.pairwise = pairwise
        self.noisy_link = noisy_link
        self.start = start
        self.alpha_start = alpha_start
        self.alpha_end = alpha_end
        self.alpha_epochs = alpha_epochs
        self.chains = chains
        self.sweeps = sweeps
        self.adaptive_sweeps = adaptive_sweeps
        self.hidden_layers = hidden_layers
        self.dropout = dropout
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.crf_learning_rate = crf_learning_rate
        self.weight_decay = weight_decay
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.clean_labels = clean_labels
        self.noisy_labels = noisy_labels
        self.checkpoints = checkpoints
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike | Tensor,
        y: Any,
        clean: Any = None,
        *,
        verified: ArrayLike | None = None,
        validation: tuple[Any, Any] | None = None,
    ) -> Self:
        """Learn from noisy and verified rows.

        Args:
            X: examples, (rows, inputs).
            y: noisy labels: lists of names, an indicator matrix (dense or sparse), a vector of
                classes, or a mapping from column names to these.
            clean: clean labels in one of these forms; None or NaN where a row is not verified.
            verified: which rows' clean labels may be read, booleans (rows,); by default those that
                are not missing.
            validation: (X, clean) of other rows, for early stopping and the choice of epoch.

        Raises:
            LabelError: labels that cannot be read, no verified rows where they are needed, or a
                label outside the vocabulary.
            ValueError: examples that are no finite numbers, or rows that do not match.
        """
        self._check_parameters()
        x = self._examples(X, reset=True)
        noisy_columns = read_labels(y, len(x), "noisy")
        if clean is None:
            clean_columns = _nothing_verified(noisy_columns)
        else:
            clean_columns = read_labels(clean, len(x), "clean")
        known = verified_rows(clean_columns, verified)
        if clean is not None and not known.any() and isinstance(self.auxiliary, str):
            raise LabelError(
                "There are no verified rows: no row has clean labels that may be read. Verify some "
                "rows, or pass what is known of noisy → clean as auxiliary=..."
            )
        held_out = None
        if validation is not None:
            held_x = self._examples(validation[0])
            held_out = (held_x, read_labels(validation[1], len(held_x), "validation"))
        seed = int(check_random_state(self.random_state).randint(2**31))
        prepared = prepare(
            x,
            noisy_columns,
            clean_columns,
            known,
            held_out,
            noisy_labels=self.noisy_labels,
            clean_labels=self.clean_labels,
            validation_fraction=self.validation_fraction,
            seed=seed,
        )
        fitted = fit_model(
            prepared.rows,
            prepared.validation,
            prepared.noisy.units,
            prepared.clean.units,
            self._model_settings(),
            self._training_settings(seed),
            progress=self.verbose,
            checkpoints=None if self.checkpoints is None else Path(self.checkpoints),
        )
        self.noisy_space_, self.clean_space_ = prepared.noisy, prepared.clean
        self.classes_ = np.array(prepared.clean.names)
        self.model_, self.history_ = fitted.model, fitted.history
        self.auxiliary_choice_ = fitted.choice
        self._architecture = fitted.architecture
        self._clean_forms = tuple(column.form for column in clean_columns.values())
        return self

    def predict_proba(self, X: ArrayLike | Tensor) -> NDArray[np.float64]:
        """p(ŷ | x) of every clean label, (rows, clean)."""
        check_is_fitted(self)
        x = self._examples(X, reset=False)
        parts = [
            self.model_.predict_mean(torch.from_numpy(x[rows]), torch.from_numpy(rows))
            for rows in _batches(len(x))
        ]
        return torch.cat(parts).double().numpy()

    def predict(self, X: ArrayLike | Tensor) -> Any:
        """The most probable clean labels, in the form the clean labels were given in."""
        probabilities = torch.from_numpy(self.predict_proba(X))
        states = self.clean_space_.units.mode(probabilities).numpy()
        return self._in_given_form(states)

    def clean(
        self,
        X: ArrayLike | Tensor,
        noisy: Any,
        clean: Any = None,
        *,
        verified: ArrayLike | None = None,
    ) -> CleanedLabels:
        """Clean the labels of rows: q(ŷ | x, y), with what changed.

        Noisy names that were not seen in training are left out of account; a noisy class has to be
        a known one.

        Args:
            X: examples, (rows, inputs).
            noisy: given labels, in the form they had in `fit`.
            clean: clean labels where they are known; those rows keep them.
            verified: which rows' clean labels are to be kept; by default those that are not
                missing.
        """
        check_is_fitted(self)
        x = self._examples(X, reset=False)
        columns = read_labels(noisy, len(x), "noisy")
        _require_widths(columns, self.noisy_space_)
        states = noisy_states(columns, self.noisy_space_, unknown="ignore")
        known = np.zeros((len(x), len(self.clean_space_.names)), dtype=np.float32)
        kept = np.zeros(len(x), dtype=bool)
        if clean is not None:
            clean_columns = read_labels(clean, len(x), "clean")
            kept = verified_rows(clean_columns, verified)
            known = clean_states(clean_columns, kept, self.clean_space_).toarray()
        parts = [
            self.model_.clean_mean(
                torch.from_numpy(x[rows]), torch.from_numpy(states[rows].toarray())
            )
            for rows in _batches(len(x))
        ]
        probabilities = torch.cat(parts).float().numpy()
        return clean_labels(
            self.clean_space_, _given(columns, self.clean_space_), probabilities, known, kept
        )

    def score(self, X: ArrayLike | Tensor, y: Any, clean: Any = None) -> float:
        """Accuracy of predicted classes, or mean average precision of several labels.

        A class that was not seen in fitting counts as wrong; among several labels such a name is
        left out of account.

        Args:
            X: examples, (rows, inputs).
            y: clean labels; or noisy labels, which are not read, where `clean` is given.
            clean: clean labels, missing where not verified; those rows are left out. With
                scikit-learn's metadata routing this lets a search over `fit(X, noisy, clean=...)`
                be scored on verified rows.
        """
        check_is_fitted(self)
        rows = len(self._examples(X))
        columns = read_labels(y if clean is None else clean, rows, "clean")
        have = present(columns)
        if not have.any():
            raise LabelError("A score needs rows with clean labels, and there are none.")
        truth = encode(columns, self.clean_space_, unknown="ignore", what="clean")[have].toarray()
        probabilities = self.predict_proba(X)[have]
        return score(self.clean_space_.units, truth, probabilities)

    def save(self, folder: str | Path, *, provenance: dict[str, Any] | None = None) -> None:
        """Write the fitted model to a folder of safetensors and JSON.

        An `Auxiliary` or a random state among the arguments is not written down as such: the
        loaded estimator has the default in its place, and the fitted auxiliary in its model.

        Args:
            folder: where to; an older model there is replaced.
            provenance: what to write down about where it came from, as JSON values.
        """
        check_is_fitted(self)
        settings = {
            name: as_json(value)
            for name, value in self.get_params().items()
            if not isinstance(value, Auxiliary | np.random.RandomState)
        }
        names = getattr(self, "feature_names_in_", None)
        stored = StoredModel(
            self.model_,
            self._architecture,
            self.clean_space_,
            self.noisy_space_,
            self._clean_forms,
            settings,
            provenance if provenance is not None else getattr(self, "provenance_", {}),
            None if names is None else tuple(map(str, names)),
        )
        save_model(stored, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a fitted model from its folder.

        Raises:
            ModelFolderError: the folder is incomplete, damaged or of another version.
        """
        stored = load_model(Path(folder))
        unknown = set(stored.settings) - set(cls._get_param_names())
        if unknown:
            raise ModelFolderError(
                f"{folder} has settings this version does not know: {sorted(unknown)}. "
                "Fit the model anew, or install the version that wrote it."
            )
        estimator = cls(**stored.settings)
        estimator._clean_forms = stored.clean_forms
        estimator.clean_space_, estimator.noisy_space_ = stored.clean, stored.noisy
        estimator.classes_ = np.array(stored.clean.names)
        estimator.n_features_in_ = stored.architecture.inputs
        estimator.model_, estimator._architecture = stored.model, stored.architecture
        estimator.provenance_ = stored.provenance
        if stored.feature_names is not None:
            estimator.feature_names_in_ = np.array(stored.feature_names, dtype=object)
        return estimator

    def _examples(self, X: Any, *, reset: bool = False) -> NDArray[np.float32]:
        values = X.detach().cpu().numpy() if isinstance(X, Tensor) else X
        x: NDArray[np.float32] = validate_data(self, values, dtype=np.float32, reset=reset)
        return x

    def _check_parameters(self) -> None:
        """Say which argument is out of its range, before anything is done with it."""
        ranges: dict[str, tuple[float, float]] = {
            "hidden": (0, np.inf),
            "epochs": (1, np.inf),
            "patience": (1, np.inf),
            "batch_size": (2, np.inf),
            "dropout": (0, 0.999),
            "learning_rate": (0, 1e6),
            "crf_learning_rate": (0, 1e6),
            "weight_decay": (0, 1e6),
            "averaging": (0, 0.999999),
            "validation_fraction": (0, 0.9),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                upper = f" to {most:g}" if np.isfinite(most) else " upwards"
                raise LatentLabelsError(f"{name} is a number from {least:g}{upper}, got {value!r}.")
        widths = self.hidden_layers
        if not isinstance(widths, tuple | list) or any(width < 1 for width in widths):
            raise LatentLabelsError(
                f"hidden_layers is a tuple of whole numbers above zero, such as (256,), "
                f"got {widths!r}."
            )

    def _model_settings(self) -> ModelSettings:
        return ModelSettings(
            auxiliary=self.auxiliary,
            hidden=self.hidden,
            pairwise=self.pairwise,
            noisy_link=self.noisy_link,
            start=self.start,
            hidden_layers=tuple(int(width) for width in self.hidden_layers),
            dropout=self.dropout,
        )

    def _training_settings(self, seed: int) -> TrainingSettings:
        return TrainingSettings(
            epochs=self.epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            crf_learning_rate=self.crf_learning_rate,
            weight_decay=self.weight_decay,
            crf_weight_decay=self.weight_decay,
            averaging=self.averaging,
            alpha=AlphaSchedule(self.alpha_start, self.alpha_end, self.alpha_epochs),
            gibbs=GibbsSchedule(self.chains, self.sweeps, adaptive=self.adaptive_sweeps),
            seed=seed,
        )

    def _in_given_form(self, states: NDArray[np.bool_]) -> Any:
        """Predicted states (rows, clean) as the clean labels were given."""
        forms = {}
        stop = 0
        space = self.clean_space_
        for name, vocabulary, form in zip(
            space.columns, space.vocabularies, self._clean_forms, strict=True
        ):
            start, stop = stop, stop + len(vocabulary.names)
            forms[name] = _in_form(form, vocabulary, states[:, start:stop])
        return forms[""] if set(forms) == {""} else forms


def _in_form(form: Form, vocabulary: Vocabulary, states: NDArray[np.bool_]) -> Any:
    if form == "classes":
        return np.array(vocabulary.names)[states.argmax(1)]
    if form == "indicator":
        return states.astype(np.int64)
    return [[vocabulary.names[unit] for unit in np.flatnonzero(row)] for row in states]


def _nothing_verified(noisy: dict[str, Column]) -> dict[str, Column]:
    """Clean labels in the noisy labels' own form, all missing."""
    blank: list[Cell] = [None] * len(next(iter(noisy.values())).cells)
    return {name: replace(column, cells=blank) for name, column in noisy.items()}


def _require_widths(columns: dict[str, Column], space: LabelSpace) -> None:
    """An indicator without names says what a column means by its place alone."""
    for name, vocabulary in zip(space.columns, space.vocabularies, strict=True):
        column = columns.get(name)
        if column is None or column.names is None:
            continue
        unnamed = column.names == tuple(range(len(column.names)))
        if unnamed and len(column.names) != len(vocabulary.names):
            raise LabelError(
                f"The noisy labels have {len(column.names)} columns, the model knows "
                f"{len(vocabulary.names)}. Pass one column for each label, in the order of fitting."
            )


def _given(columns: dict[str, Column], clean: LabelSpace) -> list[list[Name]]:
    """The names that came with each row, of all columns together, each once.

    They are spelt as the clean labels are: with their column where that has clean labels of its
    own.
    """
    several = len(clean.columns) > 1
    given: list[dict[Name, None]] = [{} for _ in next(iter(columns.values())).cells]
    for title, column in columns.items():
        prefix = f"{title}=" if several and title in clean.columns else None
        for row, cell in zip(given, column.cells, strict=True):
            row.update((f"{prefix}{name}" if prefix else name, None) for name in cell or ())
    return [list(row) for row in given]


def _batches(rows: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + BATCH, rows)) for start in range(0, rows, BATCH)]
