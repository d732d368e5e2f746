"""Labels that differ in spelling alone: by case, by spaces, or by how Unicode composes a letter.

Two texts are spellings of one name where Unicode's compatibility caseless match says so (definition
D146), with every run of spaces taken for one. Thus "Café" is "café", whether its é is one character
or two, and "ﬁlm" is "Film"; "résumé" and "resume" are two names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from unicodedata import normalize

from latentlabels.data.labels import Column, Name
from latentlabels.errors import shortened, shown

PAIRS_SHOWN = 3


class SpellingWarning(UserWarning):
    """Several labels may be one that is spelt in several ways."""


@dataclass(frozen=True)
class Spelling:
    """One spelling for each name.

    Attributes:
        chosen: the spelling by what all spellings of the name have in common.
    """

    chosen: Mapping[str, Name]

    @classmethod
    def commonest(cls, names: Iterable[Name], given: Iterable[Name] = ()) -> Spelling:
        """The spelling that occurs most often, composed and with single spaces.

        Args:
            names: as often as they occur; of equally common spellings the first by code point is
                taken.
            given: names whose spelling is settled.
        """
        counts: Counter[str] = Counter()
        for name, count in Counter(names).items():
            if isinstance(name, str):
                counts[normalize("NFC", " ".join(name.split()))] += count
        chosen: dict[str, Name] = {}
        settled = (name for name in given if isinstance(name, str))
        for name in chain(settled, sorted(counts, key=lambda name: (-counts[name], name))):
            chosen.setdefault(folded(name), name)
        return cls(chosen)

    def of(self, name: Name) -> Name:
        """A name in its chosen spelling; as it came where none was chosen, or it is a number."""
        return self.chosen.get(folded(name), name) if isinstance(name, str) else name

    def columns(self, columns: Mapping[str, Column]) -> dict[str, Column]:
        """Columns of labels, respelt, with each name once a row."""
        return {
            title: column.renamed([self.of(name) for name in column.names])
            for title, column in columns.items()
        }


def folded(name: str) -> str:
    """What all spellings of a name have in common; not for the eye."""
    if name.isascii():
        return " ".join(name.lower().split())
    twice = normalize("NFKD", normalize("NFD", name).casefold()).casefold()
    return " ".join(normalize("NFKD", twice).split())


def every_name(columns: Iterable[Column]) -> Iterable[Name]:
    """All names in some columns, as often as they occur."""
    return chain.from_iterable(
        repeat(name, count) for column in columns for name, count in column.counts().items()
    )


def told_of_spellings(*sides: Iterable[Name]) -> str | None:
    """How many names differ from another of their side in spelling alone, and which, if any do.

    Args:
        sides: names of the noisy labels, of the clean ones. That clean ones are spelt in another
            way than noisy ones is nothing to tell of.
    """
    groups = {tuple(group) for names in sides for group in _alike(names)}
    if not groups:
        return None
    pairs = ", ".join(" and ".join(map(_told, group[:2])) for group in sorted(groups)[:PAIRS_SHOWN])
    return (
        f"{sum(map(len, groups))} labels differ from another only by case, spaces or Unicode form, "
        f"such as {pairs}. Each is a label of its own; normalise_labels=True (--normalise-labels) "
        "makes one of them."
    )


def _alike(names: Iterable[Name]) -> list[list[str]]:
    """The spellings of every name that has several, in order."""
    first: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for name in {name for name in names if isinstance(name, str)}:
        key = folded(name)
        if first.setdefault(key, name) != name:
            others.setdefault(key, []).append(name)
    return [sorted([first[key], *more]) for key, more in others.items()]


def _told(name: str) -> str:
    """A name in quotes, with escapes where it would look like its composed form."""
    return shown(name) if normalize("NFC", name) == name else ascii(shortened(name))
