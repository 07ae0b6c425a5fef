"""The manifest: one row per clip, the contract between `preprocess` and everything after it."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from pipeline.ground import files
from pipeline.ground.errors import PipelineError

ARTIFACTS = Path("artifacts")
CLIPS = ARTIFACTS / "clips"
# Of the corpora that an encoder is pretrained on, and nothing else is.
UNLABELLED = ARTIFACTS / "unlabelled"
EMOTIONS = ("angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise")
SHARE_PREFIX, VOTES_PREFIX, DIMENSION_PREFIX = "share_", "votes_", "dimension_"
SECOND_PREFIX = "votes2_"
# What raters said, as columns named by the corpus: fields of `Clip`, and what the names begin with.
RATED = {
    "shares": SHARE_PREFIX,
    "votes": VOTES_PREFIX,
    "votes2": SECOND_PREFIX,
    "dimensions": DIMENSION_PREFIX,
}


@dataclass(frozen=True)
class Clip:
    """One mono 16 kHz segment of an utterance.

    ``clip`` is ``<corpus>/<utterance>[#segment][~augmentation]``, ``utterance`` the same without
    the last two parts. ``path`` is relative to the manifest, ``source`` to the raw corpus.
    ``speaker`` is ``<corpus>/<speaker>``, empty where unknown; ``gender`` is female, male or
    unknown; ``emotion`` is canonical or the corpus's own, empty where there is none. ``sha256`` is
    that of the decoded 16-bit samples. ``shares`` are fractions of listeners by emotion, ``votes``
    the raters who chose each emotion, ``votes2`` those who named it a second one, ``dimensions``
    mean ratings in the corpus's own range.
    """

    clip: str
    utterance: str
    corpus: str
    path: str
    source: str
    speaker: str
    gender: str
    session: str
    emotion: str
    intensity: str
    language: str
    duration_s: float
    start_s: float
    augmented_from: str
    sha256: str
    shares: dict[str, float] = field(default_factory=dict)
    votes: dict[str, float] = field(default_factory=dict)
    votes2: dict[str, float] = field(default_factory=dict)
    dimensions: dict[str, float] = field(default_factory=dict)
    root: Path = field(default=CLIPS, compare=False)

    @property
    def file(self) -> Path:
        """Where the audio lies, relative to the project's root."""
        return self.root / self.corpus / self.path


_NAME = re.compile(r"\w[\w-]*")
COLUMNS = tuple(f.name for f in fields(Clip) if f.name not in (*RATED, "root"))
_FLOATS = ("duration_s", "start_s")


def write(path: Path, clips: Iterable[Clip]) -> None:
    """Write ``manifest.csv`` sorted by clip (not atomic: the caller publishes the folder)."""
    rows = sorted(clips, key=lambda clip: clip.clip)
    rated = [
        (kind, name)
        for kind in RATED
        for name in sorted({name for clip in rows for name in getattr(clip, kind)})
    ]
    table = [
        [
            *(getattr(clip, name) for name in COLUMNS),
            *(getattr(clip, kind).get(name, "") for kind, name in rated),
        ]
        for clip in rows
    ]
    files.write_csv(path, [*COLUMNS, *(RATED[kind] + name for kind, name in rated)], table)


def read(corpora: Sequence[str], root: Path = CLIPS) -> list[Clip]:
    """The clips of the named corpora, sorted by clip; no folder is ever listed.

    Raises:
        PipelineError: A manifest is missing or damaged, a path leaves its folder, an id repeats.
    """
    clips = [clip for corpus in corpora for clip in _read_one(root / corpus / "manifest.csv")]
    clips.sort(key=lambda clip: clip.clip)
    for before, after in itertools.pairwise(clips):
        if before.clip == after.clip:
            raise PipelineError(f"{root}: clip {after.clip!r} is listed twice, rename its source")
    return clips


def require_name(corpus: object) -> None:
    """Check that a corpus' name can be a folder, a part of DVC's stage names and a shell word.

    Raises:
        PipelineError: It can't.
    """
    if not (isinstance(corpus, str) and _NAME.fullmatch(corpus)) or corpus.isdigit():
        raise PipelineError(
            f"params.yaml: corpus name {corpus!r}: expected letters, digits, '-' and '_', not "
            "digits alone, rename it, its folder and its entry under corpus"
        )


def folders(corpora: Sequence[str], root: Path = CLIPS) -> list[Path]:
    """Where `preprocess` puts the clips of each corpus."""
    return [root / corpus for corpus in corpora]


def _read_one(path: Path) -> list[Clip]:
    rows = csv.DictReader(io.StringIO(files.read_text(path), newline=""))
    missing = set(COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise PipelineError(f"{path}: missing column {min(missing)!r}, run `dvc repro preprocess`")
    return [_parse(path, row) for row in rows]


def _parse(path: Path, row: dict[str, str]) -> Clip:
    try:
        known = {name: row[name] for name in COLUMNS if name not in _FLOATS}
        numbers = {name: float(row[name]) for name in _FLOATS}
        rated = {kind: _rated(row, prefix) for kind, prefix in RATED.items()}
        clip = Clip(**known, **numbers, **rated, root=path.parents[1])  # type: ignore[arg-type]
    except (TypeError, ValueError, AttributeError):
        raise PipelineError(
            f"{path}: malformed row of clip {row.get('clip')!r}, run `dvc repro preprocess`"
        ) from None
    if Path(clip.path).is_absolute() or ".." in Path(clip.path).parts:
        raise PipelineError(
            f"{path}: path {clip.path!r} leaves the folder, delete it and run `dvc repro`"
        )
    if clip.corpus != path.parent.name:
        raise PipelineError(
            f"{path}: clip {clip.clip!r} is of corpus {clip.corpus!r}, expected "
            f"{path.parent.name!r}, delete it and run `dvc repro`"
        )
    return clip


def _rated(row: dict[str, str], prefix: str) -> dict[str, float]:
    """What the columns of a prefix hold, by the rest of their names."""
    return {
        name.removeprefix(prefix): float(value)
        for name, value in row.items()
        if name.startswith(prefix) and value
    }


def digest(clips: Iterable[Clip]) -> str:
    """A digest of what the clips hold and say, for provenance and scratch keys.

    Second votes are in it where there are any: most corpora have none.
    """
    return files.digest(
        [
            (
                *(c.clip, c.sha256, c.speaker, c.gender, c.emotion),
                *(c.shares, c.votes, c.dimensions, *([c.votes2] if c.votes2 else [])),
            )
            for c in clips
        ]
    )
