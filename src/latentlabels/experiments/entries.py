"""The methods that `compare` knows: ours, the paper's variants, plain ones, the literature's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from latentlabels.baselines import BASELINES
from latentlabels.baselines.problem import STEP_SIZES
from latentlabels.errors import LatentLabelsError
from latentlabels.experiments.protocol import Method, paper_methods

HIDDEN: Final = 20
OURS: Final = "latentlabels"


@dataclass(frozen=True)
class Entry:
    """A method of the comparison.

    Attributes:
        key: its name on the command line and in files.
        name: its name in tables.
        role: what the protocol makes of it.
        source: where it was published.
        settings: arguments of `RobustClassifier` that are its own.
        choices: settings to choose from on the validation rows; one where there is nothing to
            choose.
    """

    key: str
    name: str
    role: str
    source: str = "–"
    settings: Mapping[str, Any] = field(default_factory=dict)
    choices: Sequence[Mapping[str, Any]] = ({},)

    @property
    def wants_bags(self) -> bool:
        """Whether it wants an image as the bag of its regions."""
        return self.role in BASELINES and BASELINES[self.role].bags

    def method(self, shared: Mapping[str, Any], choice: int) -> Method:
        """The method under the protocol.

        Args:
            shared: arguments of `RobustClassifier` that all methods share.
            choice: which of the choices.
        """
        if self.role == "auxiliary":
            return Method(self.name, self.role, self.settings)
        own = dict(self.choices[choice])
        if self.role in BASELINES:
            return Method(self.name, self.role, {**shared, "own": own})
        return Method(self.name, self.role, {**shared, **self.settings, **own})


def _paper() -> list[Entry]:
    keys = ("no-pairwise", "no-hidden", "hidden", "no-link", "alpha-0")
    return [
        Entry(f"paper-{key}", method.name, "model", "Vahdat (2017)", method.settings, STEP_SIZES)
        for key, method in zip(keys, paper_methods(HIDDEN, {}), strict=True)
    ]


ENTRIES: Final[Mapping[str, Entry]] = {
    entry.key: entry
    for entry in (
        Entry("verified-only", "verified rows only", "verified_only", choices=STEP_SIZES),
        Entry(
            "regression",
            "regression of the labels alone",
            "auxiliary",
            settings={"kind": "regression"},
        ),
        Entry(
            "student",
            "student of verified rows and regression",
            "student",
            settings={"students": 1},
            choices=STEP_SIZES,
        ),
        Entry(
            "four-students",
            "the mean of four of these students",
            "student",
            settings={"students": 4},
            choices=STEP_SIZES,
        ),
        *(
            Entry(key, method.name, key, method.source, choices=method.choices)
            for key, method in BASELINES.items()
        ),
        *_paper(),
        Entry(OURS, "latentlabels, default", "model", "this project"),
        Entry("all-clean", "all labels clean", "all_clean", choices=STEP_SIZES),
    )
}
"""By key, in the order of the table."""


def chosen_entries(keys: Sequence[str]) -> list[Entry]:
    """The entries with the given keys, or all, in the order of the table.

    Raises:
        LatentLabelsError: an unknown key.
    """
    for key in keys:
        if key not in ENTRIES:
            raise LatentLabelsError(f"--method names one of {', '.join(ENTRIES)}; got {key!r}.")
    return [entry for key, entry in ENTRIES.items() if not keys or key in keys]
