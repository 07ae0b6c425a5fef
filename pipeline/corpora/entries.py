"""What a corpus parser makes of a folder: rows, rejects, and files that are out of scope.

A parser is a function from the corpus folder to entries. `pipeline.corpora.registry` knows them all
and checks what they return.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.ground.errors import PipelineError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")


@dataclass(frozen=True)
class Row:
    """One utterance of a corpus: where its audio lies and what its authors say about it.

    ``source`` is relative to the corpus folder. ``end_s`` None is the end of the file. ``role`` is
    the authors' own partition (train, dev or test) where they give one per utterance.
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


@dataclass(frozen=True)
class Reject:
    """A file or row that should have been an utterance, and why it can't be."""

    source: str
    code: str
    detail: str


@dataclass(frozen=True)
class OutOfScope:
    """A file that is no utterance of this corpus, or is not meant to be used."""

    source: str
    reason: str


Entry = Row | Reject | OutOfScope


@dataclass(frozen=True)
class Corpus:
    """A parser and what its corpus is known to hold.

    ``counts`` are published numbers of utterances, by manifest column and value, where they were
    verified; ``folds`` the published partitions, each from role to speakers (speakers that are not
    named are train).
    """

    parse: Callable[[Path], Iterable[Entry]]
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    folds: tuple[Mapping[str, frozenset[str]], ...] = ()


def by_name(parse_source: Callable[[str], Entry]) -> Callable[[Path], Iterator[Entry]]:
    """A parser of corpora whose file names say everything."""

    def parse(folder: Path) -> Iterator[Entry]:
        for found in audio_files(folder):
            yield found if isinstance(found, Reject) else parse_source(found)

    return parse


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


def audio_files(folder: Path) -> Iterator[str | Reject]:
    """Yield the audio files under ``folder`` as sorted POSIX paths relative to it.

    Hidden files and ``__MACOSX`` (left by archivers) are passed over. Links that loop or lead
    nowhere are rejects.

    Raises:
        PipelineError: A link leads out of the folder.
    """
    root = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if _is_visible(name))
        linked = [name for name in folders if Path(parent, name).is_symlink()]
        audio = [name for name in names if _is_visible(name) and _is_audio(name)]
        for name in sorted(audio + linked):
            path = Path(parent, name)
            source = path.relative_to(folder).as_posix()
            yield _refused(path, source, root) or source


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES)


def _refused(path: Path, source: str, root: Path) -> Reject | None:
    if not source.isascii():
        try:
            source.encode()
        except UnicodeEncodeError:
            shown = source.encode("utf-8", "backslashreplace").decode()
            return Reject(shown, "name", "the file name is not UTF-8, rename it")
    if not path.is_symlink():
        return None
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Reject(source, "link", "the link loops or leads nowhere")
    if not target.is_relative_to(root):
        raise PipelineError(f"{path}: a link out of the corpus folder, copy the file in its place")
    return Reject(source, "link", "a link to a folder of the corpus") if path.is_dir() else None


def _raise(error: OSError) -> None:
    raise error
