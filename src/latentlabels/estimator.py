"""`RobustClassifier`: the whole method behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data
from torch import Tensor, nn

from latentlabels import processes
from latentlabels import provenance as origin
from latentlabels.architecture import Tune
from latentlabels.calibrating import MOST_ROWS, Calibration, calibrate
from latentlabels.cleaning import CleanedLabels, clean_labels
from latentlabels.data.labels import Column, Name, encode, present
from latentlabels.data.spelling import Spelling
from latentlabels.errors import (
    InputError,
    LabelError,
    LatentLabelsError,
    ModelFolderError,
    row_number,
)
from latentlabels.evaluation.acceptance import Acceptance, acceptance_for
from latentlabels.evaluation.metrics import score
from latentlabels.fitting import ModelSettings, fit_model, is_taught
from latentlabels.inputs import EncodedInputs, Usable, new_encoder, same_encoder, usable_vectors
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule, Sampler
from latentlabels.network.examples import Vectors, in_batches, spread
from latentlabels.network.potentials import encoder_in
from latentlabels.parameters import check_parameters
from latentlabels.preparation import (
    FEWEST_VALIDATION_ROWS,
    Prepared,
    clean_states,
    given_names,
    in_form,
    noisy_states,
    nothing_verified,
    prepare,
    read_labels,
    require_widths,
    verified_rows,
)
from latentlabels.reasons import Evidence
from latentlabels.sampling.diagnostics import Names
from latentlabels.store import StoredModel, as_json, load_model, save_model
from latentlabels.training.launching import Machines, launch
from latentlabels.training.settings import TrainingSettings
from latentlabels.warm_start import WarmStart

HIDDEN_LAYERS: Final = (512, 512)
# From and to: an auxiliary with teachers is worth more, and keeps its weight.
ALPHA: Final = (2.0, 0.1)
ALPHA_TAUGHT: Final = (8.0, 2.0)
ALPHA_EPOCHS: Final = 10.0
# A backbone's features say most things several times over.
FEATURE_DROPOUT: Final = 0.5
# On features that are worth something a few rows teach much; on pixels they teach little.
TEACHERS: Final = 4
STUDENTS: Final = 4
OF_A_MACHINE: Final = frozenset(
    {"cache", "chain_file", "checkpoints", "devices", "nodes", "resume", "strategy", "workers"}
)
"""Arguments that say where to write and how many processes to start; no part of a saved model."""


class RobustClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that learns from many noisy and few verified labels, and cleans the noisy ones.

    A conditional random field over noisy, clean and hidden label units sits on a network; see
    `docs/notation.md`.

    Args:
        input_kind: what examples are: "vector", numbers; "image", paths, encoded bytes, Hugging
            Face images, Pillow images or arrays of pixels; or "text".
        backbone: for images a timm model, for texts a sentence-transformers model or its folder, by
            name; or a module of one's own, from a batch of images (batch, 3, size, size) or of
            vectors to features, which is copied and trained. None for a small default model, or for
            vectors.
        weights: a safetensors file with weights for the timm model; by default those that its
            makers trained.
        pretrained: whether an image model starts from trained weights.
        tune: "head", the backbone stays as it is and every example goes through it once, or "all",
            it is trained end to end.
        image_size: height and width in pixels that images are brought to; by default the model's.
        augment: whether images are cropped and flipped at random where all is tuned.
        precision: of the backbone's products where all is tuned: "float32", "bfloat16", or "auto",
            whichever is faster here.
        workers: processes that read and decode examples.
        cache: folder for features of examples, kept by content, model and transform; by default in
            the user's cache folder.
        on_bad_input: "fail" at examples that cannot be used, or "skip" them: they are not trained
            on, and get neither probability nor proposal.
        auxiliary: what is known of noisy → clean: "regression", "rbm" or "transition", fitted on
            the verified rows; "auto", the one that predicts held-out verified rows best; a
            transition matrix T[c, n] = p(y = n | ŷ = c); or an `Auxiliary`.
        hidden: hidden units that carry correlations among noisy labels.
        pairwise: whether the CRF joins clean and noisy labels. Without, the auxiliary alone does.
        noisy_link: whether the network speaks of the noisy labels too (the paper's x–y link).
        teachers: networks, trained on the verified rows alone, whose mean joins the auxiliary,
            where validation rows can choose their epochs and the backbone is not tuned; by default
            4 on a frozen backbone, and none, as in the paper, on vectors.
        students: networks that learn from the cleaned labels when the model is trained, whose mean
            is p(ŷ | x) and has half a say in the cleaned labels; by default 4 on a frozen backbone,
            and 1 on vectors; the paper has none. A backbone that is tuned, or a module on vectors,
            would be trained for each, and has none.
        start: where the CRF's weights start: "auxiliary", at its weights, or "zero", as in the
            paper.
        alpha_start: weight of the auxiliary in the posterior at the beginning; by default 8 where
            teachers join it, and 2 elsewhere.
        alpha_end: its weight at the end; by default 2 where teachers join it, and 0.1 elsewhere,
            but not above the beginning's.
        alpha_epochs: epochs in which it falls from one to the other; by default 10, or a quarter of
            all epochs where these are fewer than 40.
        chains: Gibbs chains a row, where the negative phase is sampled.
        sweeps: Gibbs sweeps an update; at most so many, where they adapt.
        sampler: what draws the chains: "reference" is plain torch on any device; "float32" and
            "bfloat16" name the products of the quicker path on a CPU; "auto" takes bfloat16 where
            the processor has it and the weights bear it.
        chain_file: a file to map the chains' states from, one bit a unit; by default they are in
            memory.
        adaptive_sweeps: whether chains that have forgotten where an update began stop there.
        hidden_layers: widths of the network's fully connected layers; by default (512, 512), or
            none on a backbone that is tuned.
        dropout: share of features left out in training.
        input_dropout: share of input columns left out in training; by default half of a frozen
            backbone's features, and none of a vector that is given.
        epochs: passes over the data at most.
        patience: epochs without a better validation score after which training stops.
        batch_size: rows a batch; fewer where the data would not fill ten batches an epoch.
        learning_rate: Adam's step size for the network's layers and heads.
        encoder_learning_rate: Adam's step size for a backbone that is tuned.
        crf_learning_rate: Adam's step size for the CRF.
        adam_epsilon: Adam's ε for layers, heads and CRF.
        encoder_adam_epsilon: Adam's ε for a backbone that is tuned.
        weight_decay: of network and CRF.
        schedule: "constant" step sizes, or "one-cycle": they rise over the first quarter of all
            updates, and fall to nothing by the last epoch.
        averaging: decay of the running average of the weights that is kept, a step; 0 for none.
        validation_fraction: share of the verified rows that is held out to choose the epoch, where
            no validation rows are given and at least 20 would be held out. Their noisy labels are
            still trained on.
        clean_labels: the clean vocabulary; by default the labels that occur among verified and
            validation rows, or the noisy classes where the verified classes are among them.
        noisy_labels: the noisy vocabulary; by default the labels that occur.
        min_count: noisy labels that fewer training rows have are left out of account, where rows
            have any number of labels.
        normalise_labels: whether labels that differ only by case, by spaces or by Unicode's form
            (NFKC) are one label, noisy and clean ones alike: with the spelling that a given
            vocabulary has, or else the commonest. A fitted model reads names in the same way.
        checkpoints: a folder for training's checkpoints; none are kept by default.
        resume: whether a fit that was stopped goes on after its last epoch in `checkpoints`, if
            there is one: with the same data and arguments it ends as if it had not been stopped.
            Only what is measured anew, which of two precisions is faster, may come out otherwise.
        devices: processes that train together on each machine, one a device; by default one, or as
            many as torchrun started. They run the same program from its beginning.
        nodes: machines; by default one, or as many as torchrun is at work on.
        strategy: how they work together: "ddp", or "ddp_find_unused_parameters_true" for a backbone
            with parameters that have no part in the loss; "auto" is "ddp".
        random_state: seed of everything random.
        verbose: whether to show a progress bar.

    Attributes:
        classes_: the clean vocabulary, in the order of `predict_proba`'s columns.
        n_features_in_: number of input columns, where examples are vectors.
        encoder_: what turns images or texts into features.
        skipped_: why rows of `fit` were left out, by row.
        held_out_: rows of `fit` that were held out for validation; not kept by `save`.
        clean_space_: the clean labels' space.
        noisy_space_: the noisy labels' space.
        model_: the trained `RobustModel`.
        history_: what happened in training; not kept by `save`.
        auxiliary_choice_: which auxiliary was taken, and how well each did; not kept by `save`.
        calibration_: what held-out rows say of cleaned labels' probabilities before and after
            calibration; None where there were fewer than 20 to calibrate on. Not kept by `save`.
        provenance_: where the model came from: date (UTC), seed and versions of its fit; of a model
            that the command line fitted also its table's name, SHA-256, rows and columns, and the
            command; and whatever was passed to `save`.

    Source: Vahdat (2017).
    """

    def __init__(
        self,
        *,
        input_kind: str = "vector",
        backbone: str | Path | nn.Module | None = None,
        weights: str | Path | None = None,
        pretrained: bool = True,
        tune: str = "head",
        image_size: int | None = None,
        augment: bool = True,
        precision: str = "auto",
        workers: int = 0,
        cache: str | Path | None = None,
        on_bad_input: str = "fail",
        auxiliary: str | ArrayLike | Auxiliary = "auto",
        hidden: int = 0,
        pairwise: bool = True,
        noisy_link: bool = False,
        teachers: int | None = None,
        students: int | None = None,
        start: str = "auxiliary",
        alpha_start: float | None = None,
        alpha_end: float | None = None,
        alpha_epochs: float | None = None,
        chains: int = 50,
        sweeps: int = 100,
        adaptive_sweeps: bool = True,
        sampler: Sampler = "auto",
        chain_file: str | Path | None = None,
        hidden_layers: tuple[int, ...] | None = None,
        dropout: float = 0.5,
        input_dropout: float | None = None,
        epochs: int = 60,
        patience: int = 15,
        batch_size: int = 256,
        learning_rate: float = 2e-3,
        encoder_learning_rate: float = 1e-4,
        crf_learning_rate: float = 2e-3,
        adam_epsilon: float = 1e-8,
        encoder_adam_epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        schedule: str = "constant",
        averaging: float = 0.99,
        validation_fraction: float = 0.2,
        clean_labels: Sequence[Name] | None = None,
        noisy_labels: Sequence[Name] | None = None,
        min_count: int = 1,
        normalise_labels: bool = False,
        checkpoints: str | Path | None = None,
        resume: bool = False,
        devices: int | None = None,
        nodes: int | None = None,
        strategy: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.input_kind = input_kind
        self.backbone = backbone
        self.weights = weights
        self.pretrained = pretrained
        self.tune = tune
        self.image_size = image_size
        self.augment = augment
        self.precision = precision
        self.workers = workers
        self.cache = cache
        self.on_bad_input = on_bad_input
        self.auxiliary = auxiliary
        self.hidden = hidden
        self.pairwise = pairwise
        self.noisy_link = noisy_link
        self.teachers = teachers
        self.students = students
        self.start = start
        self.alpha_start = alpha_start
        self.alpha_end = alpha_end
        self.alpha_epochs = alpha_epochs
        self.chains = chains
        self.sweeps = sweeps
        self.adaptive_sweeps = adaptive_sweeps
        self.sampler = sampler
        self.chain_file = chain_file
        self.hidden_layers = hidden_layers
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.epochs = epochs
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.crf_learning_rate = crf_learning_rate
        self.adam_epsilon = adam_epsilon
        self.encoder_adam_epsilon = encoder_adam_epsilon
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.clean_labels = clean_labels
        self.noisy_labels = noisy_labels
        self.min_count = min_count
        self.normalise_labels = normalise_labels
        self.checkpoints = checkpoints
        self.resume = resume
        self.devices = devices
        self.nodes = nodes
        self.strategy = strategy
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        clean: Any = None,
        *,
        verified: ArrayLike | None = None,
        validation: tuple[Any, Any] | tuple[Any, Any, Any] | None = None,
        warm_start: RobustClassifier | None = None,
    ) -> Self:
        """Learn from noisy and verified rows.

        Args:
            X: examples, (rows, inputs).
            y: noisy labels: lists of names, an indicator matrix (dense or sparse), a vector of
                classes, or a mapping from column names to these.
            clean: clean labels in one of these forms; None or NaN where a row is not verified.
            verified: which rows' clean labels may be read, booleans (rows,); by default those that
                are not missing.
            validation: (X, clean) of other rows, for early stopping and the choice of epoch; or
                (X, clean, y), with their noisy labels, and then also for calibration. Without,
                the verified rows that are held out serve for both.
            warm_start: a fitted classifier of the same labels and shape, whose weights to start
                from; α then starts where it ends.

        Raises:
            LabelError: labels that cannot be read, no verified rows where they are needed, or a
                label outside the vocabulary, or unknown to the model to start from.
            LatentLabelsError: a model to start from that has another shape.
            ValueError: examples that are no finite numbers, or rows that do not match.
        """
        launch(self.machines())
        with processes.together():
            self._start_encoder()
            drawn = int(check_random_state(self.random_state).randint(2**31))
        seed = processes.agreed(drawn)
        with processes.together():
            given = self._read(X, reset=True, seed=seed, shared=True)
            noisy_columns = read_labels(y, given.total, "noisy")
            if clean is None:
                clean_columns = nothing_verified(noisy_columns)
            else:
                clean_columns = read_labels(clean, given.total, "clean")
            known = verified_rows(clean_columns, verified)
            unverified = clean is not None and not known[given.rows].any()
            if unverified and isinstance(self.auxiliary, str):
                why = (
                    f"the examples of all {known.sum()} cannot be used"
                    if known.any()
                    else "no row has clean labels that may be read"
                )
                raise LabelError(
                    f"There are no verified rows: {why}. Verify some rows, or pass what is known "
                    "of noisy → clean as auxiliary=..."
                )
            held_out, held_rows, held_noisy = None, None, None
            if validation is not None:
                held = self._read(validation[0], shared=True)
                held_out = (held.examples, read_labels(validation[1], held.total, "validation"))
                if len(validation) == 3:
                    held_noisy = read_labels(validation[2], held.total, "noisy validation")
                held_rows = held.rows
            prepared = prepare(
                given.examples,
                noisy_columns,
                clean_columns,
                known,
                held_out,
                noisy_labels=self.noisy_labels,
                clean_labels=self.clean_labels,
                validation_fraction=self.validation_fraction,
                seed=seed,
                rows=given.rows,
                validation_rows=held_rows,
                validation_noisy=held_noisy,
                normalise=self.normalise_labels,
                min_count=self.min_count,
            )
            warm = None if warm_start is None else warm_start._as_start()
            if warm is not None:
                warm.require_labels(prepared.noisy, prepared.clean)
        fitted = fit_model(
            prepared.rows,
            prepared.validation,
            prepared.noisy.units,
            prepared.clean.units,
            self.model_settings(),
            self.training_settings(
                seed,
                is_taught(prepared.rows, prepared.validation, self.model_settings()),
                warm=warm is not None,
            ),
            encoder=self.encoder_,
            backbone=self.backbone if isinstance(self.backbone, nn.Module) else None,
            warm=warm,
            progress=self.verbose,
            names={"clean": prepared.clean.names, "noisy": prepared.noisy.names},
        )
        self.noisy_space_, self.clean_space_ = prepared.noisy, prepared.clean
        self.classes_ = np.array(prepared.clean.names)
        self.model_, self.history_ = fitted.model, fitted.history
        self.calibration_ = self._calibrate(prepared)
        self.auxiliary_choice_ = fitted.choice
        self.skipped_, self.held_out_ = given.bad, prepared.held_out
        self._architecture = fitted.architecture
        self._clean_forms = tuple(column.form for column in clean_columns.values())
        told = self.random_state
        self.provenance_ = origin.of_fit(int(told) if isinstance(told, int | np.integer) else seed)
        return self

    def usable(self, X: Any) -> Usable:
        """Read examples once; what comes back may be passed for X to `fit` and the others.

        Processes that work together all call it, and each reads a share.

        Raises:
            InputError: examples of another form, or bad ones where they are not skipped.
            BackboneError: a backbone that cannot be had.
        """
        if not hasattr(self, "model_"):
            self._start_encoder()
        return self._read(X, shared=True)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """p(ŷ | x) of every clean label, (rows, clean); NaN for skipped examples."""
        check_is_fitted(self, "model_")
        given = self._read(X)
        parts = [
            self.model_.predict_mean(x, given.first + rows)
            for rows, x in self._batches(given, "predicting")
        ]
        return given.scattered(_numbers(torch.cat(parts), given).astype(np.float64), np.nan)

    def predict_proba_of_teachers(self, X: Any) -> NDArray[np.float64]:
        """p(ŷ | x) as the teachers have it, who learnt from the verified rows alone, (rows, clean).

        Raises:
            LatentLabelsError: the model has no teachers.
        """
        check_is_fitted(self, "model_")
        teacher = self.model_.teacher
        if teacher is None:
            raise LatentLabelsError("The model has no teachers: fit with teachers=4, or another.")
        given, units = self._read(X), self.clean_space_.units
        with torch.no_grad():
            parts = [units.mean(teacher.logits(x)) for _, x in self._batches(given, "predicting")]
        return given.scattered(torch.cat(parts).double().numpy(), np.nan)

    def predict(self, X: Any) -> Any:
        """The most probable clean labels, in the form the clean labels were given in.

        Raises:
            InputError: a class is wanted of an example that is skipped.
        """
        probabilities = self.predict_proba(X)
        missing = np.isnan(probabilities).any(1)
        if missing.any() and "classes" in self._clean_forms:
            raise InputError(
                f"Row {int(np.flatnonzero(missing)[0])} cannot be used and so has no class. Leave "
                "it out, or take predict_proba, which has NaN there."
            )
        states = self.clean_space_.units.mode(torch.from_numpy(np.nan_to_num(probabilities)))
        return self._in_given_form(states.numpy())

    def clean(
        self,
        X: Any,
        noisy: Any,
        clean: Any = None,
        *,
        verified: ArrayLike | None = None,
        precision: float | None = None,
    ) -> CleanedLabels:
        """Clean the labels of rows: q(ŷ | x, y), calibrated, with what changed.

        Noisy names that were not seen in training are left out of account; a noisy class has to be
        a known one.

        Args:
            X: examples, (rows, inputs).
            noisy: given labels, in the form they had in `fit`.
            clean: clean labels where they are known; those rows keep them.
            verified: which rows' clean labels are to be kept; by default those that are not
                missing.
            precision: share of changes that are to be right, such as 0.95: only those are made
                that are sure enough, by what held-out verified rows say; the others are left for
                review. By default all are made.

        Raises:
            LatentLabelsError: a precision that is no share between 0 and 1.
        """
        check_is_fitted(self, "model_")
        acceptance = None if precision is None else self.acceptance(precision)
        given = self._read(X)
        columns = self._read_labels(noisy, given.total, "noisy")
        require_widths(columns, self.noisy_space_)
        states = noisy_states(columns, self.noisy_space_, unknown="ignore")
        known = np.zeros((given.total, len(self.clean_space_.names)), dtype=np.float32)
        kept = np.zeros(given.total, dtype=bool)
        if clean is not None:
            clean_columns = self._read_labels(clean, given.total, "clean")
            kept = verified_rows(clean_columns, verified)
            known = clean_states(clean_columns, kept, self.clean_space_).toarray()
        batches = self._batches(given, "cleaning")
        evidence = torch.cat([self.model_.input_evidence(x) for _, x in batches])
        said = _numbers(evidence.float(), given)
        labels = self.model_.label_evidence()
        logits = said + states[given.rows] @ labels.weight.numpy().T + labels.constant.numpy()
        means = self.model_.crf.clean.mean(torch.from_numpy(logits)).numpy()
        return clean_labels(
            self.clean_space_,
            given_names(columns, self.clean_space_),
            given.scattered(means, np.nan),
            known,
            kept,
            given.bad,
            Evidence(
                self.input_kind,
                self.clean_space_,
                self.noisy_space_.names,
                given.scattered(said, np.nan),
                states,
                labels,
            ),
            acceptance,
        )

    def acceptance(self, precision: float) -> Acceptance:
        """Which changes `clean` makes where a precision is asked for, by those of held-out rows.

        Args:
            precision: share of the changes that are made that is to be right.

        Raises:
            LatentLabelsError: it is no share between 0 and 1.
        """
        known = self.model_.calibrator
        confidence, added, right = (
            part.numpy() for part in (known.confidence, known.added, known.right)
        )
        return acceptance_for(precision, confidence, right.astype(bool), added.astype(bool))

    def score(self, X: Any, y: Any, clean: Any = None) -> float:
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
        check_is_fitted(self, "model_")
        probabilities = self.predict_proba(X)
        columns = self._read_labels(y if clean is None else clean, len(probabilities), "clean")
        have = present(columns) & ~np.isnan(probabilities).any(1)
        if not have.any():
            raise LabelError("A score needs rows with clean labels, and there are none.")
        truth = encode(columns, self.clean_space_, unknown="ignore", what="clean")[have].toarray()
        return score(self.clean_space_.units, truth, probabilities[have])

    def save(self, folder: str | Path, *, provenance: dict[str, Any] | None = None) -> None:
        """Write the fitted model to a folder of safetensors and JSON.

        An `Auxiliary`, a random state or a module among the arguments is not written down as such:
        the loaded estimator has the default in its place, and the fitted auxiliary in its model.
        Neither is a backbone that was not tuned: it is known by its name and its fingerprint; nor
        are `cache`, `chain_file`, `checkpoints`, `resume`, `workers`, `devices`, `nodes` and
        `strategy`, which belong to a machine.

        Args:
            folder: where to; an older model there is replaced.
            provenance: what to write down about where it came from, as JSON values, beside what is
                in `provenance_`.

        Raises:
            ModelFolderError: something else is in the place, or the folder could not be read again.
        """
        check_is_fitted(self, "model_")
        settings = {
            name: as_json(value)
            for name, value in self.get_params().items()
            if name not in OF_A_MACHINE
            and not isinstance(value, Auxiliary | np.random.RandomState | nn.Module)
        }
        names = getattr(self, "feature_names_in_", None)
        stored = StoredModel(
            self.model_,
            self._architecture,
            self.clean_space_,
            self.noisy_space_,
            self._clean_forms,
            settings,
            {**self.provenance_, **(provenance or {})},
            None if names is None else tuple(map(str, names)),
        )
        save_model(stored, Path(folder))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        backbone: nn.Module | str | Path | None = None,
        weights: str | Path | None = None,
    ) -> Self:
        """Read a fitted model from its folder, which may be a stranger's.

        Nothing in the folder can run, and it cannot lead out of itself: of its own it names models
        that timm or sentence-transformers publish, and no file or other publisher's model.

        Args:
            folder: where it is.
            backbone: what it was fitted on, where that was a module of one's own, a folder, or
                another publisher's model.
            weights: the file of its image model's weights, where it was fitted with one and the
                backbone was not tuned.

        Raises:
            ModelFolderError: the folder is incomplete, damaged or of another version.
            BackboneError: the model needs a backbone that cannot be had, or that has to be named.
        """
        stored = load_model(Path(folder), backbone, weights)
        unknown = set(stored.settings) - set(cls._get_param_names())
        if unknown:
            raise ModelFolderError(
                f"{folder} has settings this version does not know: {sorted(unknown)}. "
                "Fit the model anew, or install the version that wrote it."
            )
        known = {name: value for name, value in stored.settings.items() if name not in OF_A_MACHINE}
        estimator = cls(**known)
        try:
            check_parameters(estimator.get_params(deep=False))
        except LatentLabelsError as error:
            raise ModelFolderError(f"{folder} is damaged: in its settings {error}") from error
        if backbone is not None:
            estimator.backbone = backbone
        if weights is not None:
            estimator.weights = weights
        estimator._clean_forms = stored.clean_forms
        estimator.clean_space_, estimator.noisy_space_ = stored.clean, stored.noisy
        estimator.classes_ = np.array(stored.clean.names)
        architecture = stored.architecture
        module = backbone if isinstance(backbone, nn.Module) else None
        estimator.model_, estimator._architecture = stored.model, architecture
        estimator.encoder_ = encoder_in(stored.model.network)
        estimator.tune_, estimator.skipped_ = architecture.tune, {}
        if architecture.encoder is None:
            estimator.n_features_in_ = architecture.inputs
        elif architecture.tune == "head":
            estimator.encoder_ = same_encoder(architecture, module)
        estimator.provenance_ = stored.provenance
        if stored.feature_names is not None:
            estimator.feature_names_in_ = np.array(stored.feature_names, dtype=object)
        return estimator

    def _start_encoder(self) -> None:
        """What turns images or texts into features, as it is before training."""
        check_parameters(self.get_params(deep=False))
        self.encoder_ = new_encoder(
            self.input_kind,
            self.backbone,
            weights=self.weights,
            pretrained=self.pretrained,
            size=self.image_size,
            augment=self.augment and self.tune == "all",
        )
        self.tune_ = self._tuned()

    def _read(self, X: Any, *, reset: bool = False, seed: int = 0, shared: bool = False) -> Usable:
        """The usable ones of some examples; `shared`: whether all processes read them now."""
        if self.encoder_ is None:
            if isinstance(X, Usable) and X.fingerprint is None and isinstance(X.examples, Vectors):
                if reset:
                    self.n_features_in_ = X.examples.inputs
                return X
            first = X[0] if isinstance(X, list | tuple) and X else X
            if isinstance(first, Usable | str | bytes | Path):
                raise InputError(
                    'X holds no vectors. For images or texts pass input_kind="image" or "text".'
                )
            values = X.detach().cpu().numpy() if isinstance(X, Tensor) else X
            return usable_vectors(validate_data(self, values, dtype=np.float32, reset=reset))
        inputs = EncodedInputs(
            self.encoder_,
            tuned=self.tune_ == "all",
            cache=None if self.cache is None else Path(self.cache),
            workers=self.workers,
            skip=self.on_bad_input == "skip",
            seed=seed,
            progress=self.verbose,
        )
        return inputs.take_over(X) if isinstance(X, Usable) else inputs.read(X, shared=shared)

    def label_names(self) -> Names:
        """The names of the fitted model's clean and noisy units."""
        check_is_fitted(self, "model_")
        return {"clean": self.clean_space_.names, "noisy": self.noisy_space_.names}

    def known_spelling(self) -> Spelling:
        """How the fitted model spells the labels it knows."""
        check_is_fitted(self, "model_")
        spaces = (self.clean_space_, self.noisy_space_)
        parts = (vocabulary.names for space in spaces for vocabulary in space.vocabularies)
        return Spelling.commonest((), given=chain.from_iterable(parts))

    def _read_labels(self, labels: Any, rows: int, what: str) -> dict[str, Column]:
        """Labels for the fitted model."""
        columns = read_labels(labels, rows, what)
        return self.known_spelling().columns(columns) if self.normalise_labels else columns

    def _calibrate(self, prepared: Prepared) -> Calibration | None:
        """Calibrate the fitted model on held-out rows that came with noisy labels."""
        rows, given = prepared.validation, prepared.given
        if rows is None or given is None or len(rows) < FEWEST_VALIDATION_ROWS:
            return None
        some = spread(len(rows), MOST_ROWS)
        noisy = rows.noisy[some]
        examples = in_batches(
            rows.x.take(some), workers=self.workers, progress=self.verbose, doing="calibrating"
        )
        logits = [
            self.model_.clean_logits(x, torch.from_numpy(noisy[batch.numpy()].toarray()))
            for batch, x in examples
        ]
        self.model_.calibrator, calibration = calibrate(
            prepared.clean,
            torch.cat(logits).numpy(),
            rows.clean[some].toarray(),
            [given[row] for row in some],
        )
        return calibration

    def _batches(self, given: Usable, doing: str) -> Iterator[tuple[Tensor, Tensor]]:
        return in_batches(given.examples, workers=self.workers, progress=self.verbose, doing=doing)

    def model_settings(self) -> ModelSettings:
        """The arguments that shape the model."""
        return ModelSettings(
            auxiliary=self.auxiliary,
            hidden=self.hidden,
            pairwise=self.pairwise,
            noisy_link=self.noisy_link,
            teachers=self._teachers(),
            students=self._students(),
            start=self.start,
            hidden_layers=self._widths(),
            dropout=self.dropout,
            input_dropout=self._input_dropout(),
            tune=self._tuned(),
            precision=self.precision,
        )

    def machines(self) -> Machines:
        """The arguments that say where it is trained."""
        return Machines(self.devices, self.nodes, self.strategy)

    def _tuned(self) -> Tune:
        return "all" if self.input_kind != "vector" and self.tune == "all" else "head"

    def _frozen(self) -> bool:
        return self.input_kind != "vector" and self._tuned() == "head"

    def _input_dropout(self) -> float:
        if self.input_dropout is not None:
            return self.input_dropout
        return FEATURE_DROPOUT if self._frozen() else 0.0

    def _teachers(self) -> int:
        if self.teachers is not None:
            return self.teachers
        return TEACHERS if self._frozen() else 0

    def _students(self) -> int:
        if self.students is not None:
            return self.students
        if isinstance(self.backbone, nn.Module) and self.input_kind == "vector":
            return 0
        return STUDENTS if self._frozen() else 1

    def _widths(self) -> tuple[int, ...]:
        if self.hidden_layers is None:
            return HIDDEN_LAYERS if self._tuned() == "head" else ()
        return tuple(int(width) for width in self.hidden_layers)

    def _as_start(self) -> WarmStart:
        """The fitted model, for another fit to start from."""
        check_is_fitted(self, "model_")
        return WarmStart(self.model_, self._architecture, self.noisy_space_, self.clean_space_)

    def training_settings(
        self, seed: int, taught: bool = False, warm: bool = False
    ) -> TrainingSettings:
        """The arguments that say how it is trained.

        Args:
            seed: of everything random.
            taught: whether it has teachers.
            warm: whether it starts from a fitted model, which the auxiliary need not guide again.
        """
        start, end = ALPHA_TAUGHT if taught else ALPHA
        start = start if self.alpha_start is None else self.alpha_start
        end = min(start, end) if self.alpha_end is None else self.alpha_end
        if warm:
            start = end
        fall = self.alpha_epochs
        if fall is None:
            fall = min(ALPHA_EPOCHS, self.epochs / 4)
        return TrainingSettings(
            epochs=self.epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            encoder_learning_rate=self.encoder_learning_rate,
            crf_learning_rate=self.crf_learning_rate,
            epsilon=self.adam_epsilon,
            encoder_epsilon=self.encoder_adam_epsilon,
            weight_decay=self.weight_decay,
            crf_weight_decay=self.weight_decay,
            schedule=self.schedule,
            averaging=self.averaging,
            alpha=AlphaSchedule(start, end, fall),
            gibbs=GibbsSchedule(
                self.chains, self.sweeps, adaptive=self.adaptive_sweeps, sampler=self.sampler
            ),
            chain_file=None if self.chain_file is None else Path(self.chain_file),
            checkpoints=None if self.checkpoints is None else Path(self.checkpoints),
            resume=self.resume,
            workers=self.workers if self._tuned() == "all" else 0,
            machines=self.machines(),
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
            forms[name] = in_form(form, vocabulary, states[:, start:stop])
        return forms[""] if set(forms) == {""} else forms


def _numbers(said: Tensor, given: Usable) -> NDArray[Any]:
    """What a model says of usable examples, (usable, clean).

    Raises:
        LatentLabelsError: it is NaN or infinite.
    """
    bad = ~said.isfinite().all(1)
    if bad.any():
        row = int(given.rows[int(bad.nonzero()[0])])
        raise LatentLabelsError(
            f"The model says NaN or infinity of row {row_number(row)} (rows count from 0). Leave "
            "the row out if its numbers are far from all that the model was fitted on; or else fit "
            "anew, for the model is damaged."
        )
    return said.numpy()
