"""What a corpus parser makes of a folder: rows, rejects, and files that are out of scope.

A parser is a function from the corpus folder to entries. `pipeline.corpora.registry` knows them all
and checks what they return.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipeline.ground.errors import PipelineError

# The role of what its authors keep the labels of: it is in no fold, and can be predicted.
UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class Row:
    """One utterance of a corpus: where its audio lies and what its authors say about it.

    ``source`` is relative to the corpus folder. ``end_s`` None is the end of the file. ``role`` is
    the authors' own partition (train, dev, test or `UNLABELLED`) where they give one per utterance.
    ``label`` says where the row of a label file stands that this is made of, empty where a name
    says it all; so it does in a `Reject` and in an `OutOfScope`. ``shares``, ``votes``, ``votes2``
    and ``dimensions`` are as in a `pipeline.corpora.manifest.Clip`. ``length_s`` is how long its
    authors say it is, where clips are known to be cut wrongly.
    """

    source: str
    utterance: str
    speaker: str
    gender: str
    session: str
    emotion: str
    intensity: str = ""
    language: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    role: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    votes: Mapping[str, float] = field(default_factory=dict)
    votes2: Mapping[str, float] = field(default_factory=dict)
    dimensions: Mapping[str, float] = field(default_factory=dict)
    length_s: float | None = None
    label: str = field(default="", compare=False)


@dataclass(frozen=True)
class Reject:
    """A file or row that should have been an utterance, and why it can't be."""

    source: str
    code: str
    detail: str
    label: str = field(default="", compare=False)


@dataclass(frozen=True)
class OutOfScope:
    """A file that is no utterance of this corpus, or is not meant to be used."""

    source: str
    reason: str
    label: str = field(default="", compare=False)


Entry = Row | Reject | OutOfScope


@dataclass(frozen=True)
class Choice:
    """Which table (a pattern) and column of a database hold the emotion; empty: found."""

    table: str = ""
    column: str = ""


FOUND = Choice()


@dataclass(frozen=True)
class Corpus:
    """A parser and what its corpus is known to hold.

    ``counts`` are published numbers of utterances, by manifest column and value, where they were
    verified; ``folds`` the published partitions, each from role to speakers (speakers that are not
    named are train). ``ranges`` are the ends of the scale of each dimension. ``shared`` says that
    the authors' own partition shares speakers between its parts: it is no leak then, but no score
    by it is speaker-independent. ``chosen`` says that ``parse`` takes a `Choice`, too.
    """

    parse: Callable[..., Iterable[Entry]]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    folds: tuple[Mapping[str, frozenset[str]], ...] = ()
    shared: bool = False
    chosen: bool = False


def stem(source: str) -> str:
    """The file name without folders and suffix, Unicode-normalised."""
    return unicodedata.normalize("NFC", PurePosixPath(source).stem)


def lookup(table: Mapping[str, str], code: str, source: str, what: str) -> str:
    """The meaning of a code in a file name; an unknown one stops the stage.

    Raises:
        PipelineError: The code is not in the table.
    """
    if code not in table:
        raise PipelineError(
            f"{source}: unknown {what} code {code!r}, known: {', '.join(table)}, rename it"
        )
    return table[code]
