"""A fit that starts where a fitted model ended, if shapes and vocabularies agree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from torch import nn

from latentlabels.architecture import Architecture
from latentlabels.data.labels import LabelSpace
from latentlabels.errors import LabelError, LatentLabelsError, shown
from latentlabels.robust_model import Committee, RobustModel

MAY_DIFFER: Final = frozenset(
    {"auxiliary_hidden", "auxiliary_kind", "dropout", "precision", "students", "teachers"}
)
"""What of a model's shape is not that of the weights it starts from."""
REMEDY: Final = "or fit without a warm start (--cold-start)."


@dataclass(frozen=True)
class WarmStart:
    """A fitted model to start from.

    Attributes:
        model: the model.
        architecture: its shape.
        noisy: the noisy labels' space.
        clean: the clean labels' space.
    """

    model: RobustModel
    architecture: Architecture
    noisy: LabelSpace
    clean: LabelSpace

    def require_labels(self, noisy: LabelSpace, clean: LabelSpace) -> None:
        """Check that the labels are those of the model.

        Raises:
            LabelError: the first that are not.
        """
        for side, old, new in (("noisy", self.noisy, noisy), ("clean", self.clean, clean)):
            if old == new:
                continue
            come = sorted(set(map(str, new.names)) - set(map(str, old.names)))
            gone = sorted(set(map(str, old.names)) - set(map(str, new.names)))
            what = "they are of another kind or in another order"
            if come or gone:
                what = f"{shown((come or gone)[0])} is {'new' if come else 'gone'}"
            raise LabelError(
                f"The model to start from has other {side} labels: {what}. Pass its labels as "
                f"{side}_labels (--{side}-labels), {REMEDY}"
            )

    def require_shape(self, architecture: Architecture) -> None:
        """Check that the model has the shape of the one to fit.

        Raises:
            LatentLabelsError: the first argument that differs.
        """
        old, new = asdict(self.architecture), asdict(architecture)
        for name in old:
            if name not in MAY_DIFFER and old[name] != new[name]:
                raise LatentLabelsError(
                    f"The model to start from has {name} {shown(old[name])}, and this fit "
                    f"{shown(new[name])}. Fit with the arguments of that model, {REMEDY}"
                )

    def start(self, model: RobustModel) -> None:
        """Give a model the weights of network and CRF."""
        _copy(self.model.network, model.network)
        _copy(self.model.crf, model.crf)

    def start_committee(self, committee: Committee, fitted: Committee | None) -> None:
        """Give the networks of a committee the weights of a fitted one's, as far as it has some."""
        if fitted is not None:
            for old, new in zip(fitted.networks, committee.networks, strict=False):
                _copy(old, new)


def _copy(old: nn.Module, new: nn.Module) -> None:
    try:
        new.load_state_dict(old.state_dict())
    except RuntimeError as error:
        # Of a backbone of the caller's own nothing else is known.
        raise LatentLabelsError(
            f"The model to start from has weights of other shapes. Pass the same backbone, {REMEDY}"
        ) from error
