"""Runs and models written by hand, for reports: nothing has to be trained."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import torch
from tests.review.conftest import SmallRun
from torch import nn

from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.report.facts import Facts, gather
from latentlabels.report.record import Record, record_of
from latentlabels.robust_model import Calibrator, RobustModel

RELIABILITY = {"said": [0.1, 0.9], "found": [0.2, 0.8], "count": [30, 10]}
METRICS: dict[str, Any] = {
    "version": "0.1.0",
    "settings": {"epochs": 2, "auxiliary": "auto"},
    "rows": {"all": 5, "train": 5, "verified": 1},
    "auxiliary": {"kind": "regression", "held_out_loss": {"regression": 1.5, "rbm": None}},
    "negative_phase": "gibbs",
    "chains": {"mix": False, "r_hat": None, "effective": 0.5, "stuck": 0.02, "weight": 3.0},
    "best_epoch": 1,
    "history": [
        {"epoch": 0, "loss": 2.0, "validation": 0.5, "alpha": 2.0},
        {"epoch": 1, "loss": 1.0, "validation": 0.7, "alpha": 0.1},
    ],
    "calibration": {
        "rows": 40,
        "before": {"ece": 0.1, "brier": 0.2, "reliability": RELIABILITY},
        "after": {"ece": 0.05, "brier": 0.1, "reliability": RELIABILITY},
    },
    "comparison": {
        "rows_of": "test",
        "rows": 100,
        "measure": "map",
        "model": 0.8,
        "verified_only": 0.7,
        "low": 0.05,
        "high": 0.15,
    },
}


def space(names: Any, *, exclusive: bool = False) -> LabelSpace:
    return LabelSpace(("",), (Vocabulary(tuple(names), exclusive),))


def model_of(noisy: LabelSpace, clean: LabelSpace, *, right: Any = ()) -> RobustModel:
    """A model whose auxiliary says: a noisy label speaks for the clean one of its name."""
    names = [str(name) for name in noisy.names]
    weight = torch.tensor([[4.0 * (str(c) == n) for n in names] for c in clean.names])
    bias = torch.full((len(clean.names),), -2.0)
    auxiliary = Auxiliary(noisy.units, clean.units, bias, weight)
    crf = PairwiseCRF(noisy.units, clean.units)
    model = RobustModel(nn.Identity(), crf, auxiliary, alpha=1.0)
    model.calibrator = Calibrator(len(clean.names), len(right))
    model.calibrator.right.copy_(torch.tensor(right, dtype=torch.float32))
    return model


def facts_of(run: SmallRun, *, record: Record | None = None, right: Any = (), **told: Any) -> Facts:
    """The facts of a run whose noisy vocabulary is the clean one and two words more."""
    vocabulary = run.space.vocabularies[0]
    names = [str(name) for name in vocabulary.names]
    words = [] if vocabulary.exclusive else ["sea", "beach"]
    noisy = space([*names, *words], exclusive=vocabulary.exclusive)
    provenance = {"command": "latentlabels clean table.parquet", "table": "table.parquet"}
    opened = run.opened(**{key: told.pop(key) for key in ("pictures", "show") if key in told})
    model = model_of(noisy, run.space, right=right)
    return gather(opened, model, noisy, run.space, provenance, record, **told)


def full_record(**changed: Any) -> Record:
    return record_of({**METRICS, **changed})


class Page(HTMLParser):
    """A page's tags, attributes and texts, as a browser would have them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.names: list[str] = []
        self._name: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "bdi":
            self._name = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "bdi" and self._name is not None:
            self.names.append(self._name)
            self._name = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._name is not None:
            self._name += data

    @property
    def text(self) -> str:
        """All that is read on the page, spaces folded."""
        return " ".join(" ".join(self.texts).split())
