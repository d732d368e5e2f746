"""The paper's experiments as named values: which networks, which settings, which rows of tables.

**The paper's** are: on COCO, ResNet-50 on images of 224 pixels and VGG-16 on images of 256, α from
40 to 5 in 11 epochs, 200 hidden units, 50 chains and 100 sweeps; on CIFAR-10, a ResNet of 32 layers
for 200 epochs, α from 8 to 1 in 10; and Adam with two learning rates and two ε.

**Ours** are the values of these rates and ε, batch size, weight decay, the number of epochs on COCO
(as many as α falls in, for the reason in docs/results.md), how images are augmented, which trained
weights a network starts from, and that validation rows choose the epoch. Any of them can be
replaced, `--set encoder_learning_rate=1e-5` on the command line.

`PUBLISHED` holds the paper's figures that somebody has copied from its tables. None has been yet,
so tables show "–" in their place.

Source: Vahdat (2017), section 4; He et al. (2016) for the networks.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from latentlabels.errors import LatentLabelsError
from latentlabels.parameters import PAPER

Measure: TypeAlias = Literal["prediction", "recovery"]

MEASURES: Final[tuple[Measure, ...]] = ("prediction", "recovery")
NOISE_RATES: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
PUBLISHED: Final[Mapping[tuple[str, str, str, Measure], float]] = {}
"""Per cent, by target, column, row's key and measure."""

SHARED: Final = (
    *("backbone", "pretrained", "tune", "augment", "precision", "chains", "sweeps", "epochs"),
    *("adaptive_sweeps", "alpha_start", "alpha_end", "alpha_epochs", "batch_size", "weight_decay"),
    *("learning_rate", "crf_learning_rate", "encoder_learning_rate"),
    *("adam_epsilon", "encoder_adam_epsilon"),
)
"""Fields that are arguments of `RobustClassifier` of the same names."""


@dataclass(frozen=True)
class PaperConfiguration:
    """Network and settings of an experiment.

    Attributes:
        network: its name in tables.
        backbone: a timm model, or "cifar_resnet" and a number of layers.
        alpha_start: α at the beginning.
        alpha_end: α at the end of its fall.
        alpha_epochs: epochs of its fall.
        epochs: passes over the data; training does not stop earlier.
        image_size: height and width in pixels; 0 for the backbone's own.
        pretrained: whether the backbone starts from trained weights.
        tune: "all", the backbone is trained too, or "head".
        augment: whether images are cropped and flipped at random where all is tuned.
        hidden: hidden units, in rows that have some.
        chains: Gibbs chains a row.
        sweeps: Gibbs sweeps an update.
        adaptive_sweeps: whether chains that have forgotten where they began stop earlier.
        batch_size: rows a batch.
        learning_rate: Adam's, for layers on the backbone.
        crf_learning_rate: Adam's, for the CRF.
        encoder_learning_rate: Adam's, for the backbone.
        adam_epsilon: Adam's ε, for layers and CRF.
        encoder_adam_epsilon: Adam's ε, for the backbone.
        weight_decay: of network and CRF.
        precision: of the backbone's products.
        verified_share: share of the training rows whose clean labels may be read.
        training_rows: training rows at most, drawn at random, with a quarter as many to validate
            and to test on; 0 for all.
        validation_records: how many of CIFAR-10's training records validate.
    """

    network: str
    backbone: str
    alpha_start: float
    alpha_end: float
    alpha_epochs: float
    epochs: int
    image_size: int = 0
    pretrained: bool = True
    tune: str = "all"
    augment: bool = True
    hidden: int = 0
    chains: int = 50
    sweeps: int = 100
    adaptive_sweeps: bool = False
    batch_size: int = 64
    learning_rate: float = 1e-3
    crf_learning_rate: float = 1e-3
    encoder_learning_rate: float = 1e-4
    adam_epsilon: float = 1e-8
    encoder_adam_epsilon: float = 1e-8
    weight_decay: float = 1e-4
    precision: str = "float32"
    verified_share: float = 0.0
    training_rows: int = 0
    validation_records: int = 5_000

    def settings(self) -> dict[str, Any]:
        """Arguments of `RobustClassifier` that all rows share.

        W starts at zero and the weights that are kept are those of an epoch, as in the paper; bad
        images are left out.
        """
        return {
            **PAPER,
            **{name: getattr(self, name) for name in SHARED},
            "hidden": self.hidden,
            "image_size": self.image_size or None,
            "input_kind": "image",
            "on_bad_input": "skip",
            "patience": self.epochs,
        }


COCO_RESNET50: Final = PaperConfiguration(
    network="ResNet-50",
    backbone="resnet50.tv_in1k",
    image_size=224,
    alpha_start=40.0,
    alpha_end=5.0,
    alpha_epochs=11.0,
    epochs=11,
    hidden=200,
    verified_share=0.2,
)
COCO_VGG16: Final = replace(
    COCO_RESNET50, network="VGG-16", backbone="vgg16.tv_in1k", image_size=256
)
COCO_SMALL: Final = replace(
    COCO_RESNET50,
    network="EfficientNet-Lite0, frozen",
    backbone="tf_efficientnet_lite0.in1k",
    image_size=160,
    tune="head",
    hidden=20,
    chains=10,
    sweeps=10,
    adaptive_sweeps=True,
    batch_size=256,
    precision="auto",
    training_rows=4_000,
)
CIFAR10: Final = PaperConfiguration(
    network="ResNet-32",
    backbone="cifar_resnet32",
    image_size=32,
    pretrained=False,
    alpha_start=8.0,
    alpha_end=1.0,
    alpha_epochs=10.0,
    epochs=200,
    batch_size=128,
    encoder_learning_rate=1e-3,
)
CIFAR10_SMALL: Final = replace(
    CIFAR10,
    network="ResNet-20",
    backbone="cifar_resnet20",
    epochs=12,
    alpha_epochs=6.0,
    batch_size=64,
    precision="auto",
    training_rows=8_000,
    validation_records=2_000,
)

COCO_SCALES: Final = {"paper": (COCO_RESNET50, COCO_VGG16), "small": (COCO_SMALL,)}
CIFAR_SCALES: Final = {"paper": (CIFAR10,), "small": (CIFAR10_SMALL,)}


@dataclass(frozen=True)
class TableRow:
    """A method as a row of a table.

    Attributes:
        key: its name on the command line and in files.
        name: its name in tables.
        role: what the protocol makes of it.
        changes: arguments of `RobustClassifier` that differ from the configuration's.
    """

    key: str
    name: str
    role: str
    changes: Mapping[str, Any] = field(default_factory=dict)


NO_ALPHA: Final = {"alpha_start": 0.0, "alpha_end": 0.0, "alpha_epochs": 0.0}
COCO_ROWS: Final = (
    TableRow("clean", "cross entropy, clean labels", "all_clean"),
    TableRow("mapped", "cross entropy, noisy names mapped by hand", "mapped"),
    TableRow("no-pairwise", "no pairwise terms", "model", {"pairwise": False, "hidden": 0}),
    TableRow("no-hidden", "CRF without hidden units", "model", {"noisy_link": True, "hidden": 0}),
    TableRow("hidden", "CRF with hidden units", "model", {"noisy_link": True}),
    TableRow("no-link", "CRF with hidden units, no x–y link", "model"),
    TableRow("alpha-0", "the same, α = 0", "model", NO_ALPHA),
    TableRow("misra", "Misra et al. (2016)", "reporting-bias"),
    TableRow("fang", "Fang et al. (2015)", "noisy-or"),
)
# What the noise does is one matrix between ten classes: hidden units would have nothing to explain.
CIFAR_ROWS: Final = (
    TableRow("clean", "cross entropy, clean labels", "all_clean"),
    TableRow("mapped", "cross entropy, noisy labels", "mapped"),
    TableRow("no-pairwise", "no pairwise terms", "model", {"pairwise": False}),
    TableRow("no-hidden", "CRF", "model", {"noisy_link": True}),
    TableRow("no-link", "CRF, no x–y link", "model"),
    TableRow("alpha-0", "the same, α = 0", "model", NO_ALPHA),
)
FIGURE_ROW: Final = "no-link"
"""The row of table 1 whose labels the figures show."""


def chosen(rows: Sequence[TableRow], only: Sequence[str]) -> tuple[TableRow, ...]:
    """The rows with the given keys, or all.

    Raises:
        LatentLabelsError: an unknown key.
    """
    keys = [row.key for row in rows]
    for key in only:
        if key not in keys:
            raise LatentLabelsError(f"--only names methods: {', '.join(keys)}; got {key!r}.")
    return tuple(row for row in rows if not only or row.key in only)


def with_changes(
    configuration: PaperConfiguration, assignments: Sequence[str]
) -> PaperConfiguration:
    """A configuration with some fields replaced.

    Args:
        configuration: what to start from.
        assignments: such as "epochs=3".

    Raises:
        LatentLabelsError: no assignment, an unknown field, or a value of another kind.
    """
    values: dict[str, Any] = {}
    known = asdict(configuration)
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or name not in known:
            close = difflib.get_close_matches(name, known)
            hint = f"Did you mean {close[0]}?" if close else f"They are {', '.join(known)}."
            raise LatentLabelsError(
                f"--set wants a setting and its value, such as epochs=3, got {assignment!r}. {hint}"
            )
        values[name] = _value(name, text, known[name])
    return replace(configuration, **values)


def _value(name: str, text: str, default: object) -> Any:
    """A text as a value of the kind of the default."""
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise LatentLabelsError(f"--set {name} wants true or false, got {text!r}.")
        return text == "true"
    try:
        return type(default)(text)  # type: ignore[call-arg]
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise LatentLabelsError(f"--set {name} wants {kind}, got {text!r}.") from None
