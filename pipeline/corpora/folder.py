"""What lies in a corpus folder, for parsers: its audio files, its text files, joined by name.

Whatever a parser finds here it must answer for: each audio file and each row of a label file
becomes one entry, so that nothing is lost in silence (a test holds all parsers to it).
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pipeline.corpora import links
from pipeline.corpora.entries import Entry, Reject, stem
from pipeline.ground.errors import PipelineError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")
# Of corpora that come as such: ffmpeg takes the audio out.
MPEG4_SUFFIXES = (".mp4", ".m4a")
# Of Windows and of its archives.
_OLD_ENCODINGS = ("cp1252", "cp850", "cp437")

Label = TypeVar("Label")


def audio_files(folder: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> Iterator[str | Reject]:
    """Yield the audio files under ``folder`` as sorted POSIX paths relative to it.

    Hidden files and ``__MACOSX`` (left by archivers) are passed over. Links that loop or lead
    nowhere, and names that are not UTF-8, are rejects.

    Raises:
        PipelineError: A link leads out of the folder.
    """
    yield from _listed(folder, "", suffixes)


def _listed(folder: Path, inner: str, suffixes: tuple[str, ...]) -> Iterator[str | Reject]:
    """Those of ``inner``, which is empty or ends in a slash, then those of its folders."""
    # Plain texts and what the folder itself tells: of 100,000 files every path and stat counts.
    with os.scandir(folder / inner) as found:
        entries = sorted((one for one in found if _is_visible(one.name)), key=_name)
    folders = []
    for one in entries:
        source, is_folder = inner + one.name, _is_folder(one)
        if is_folder and not one.is_symlink():
            folders.append(f"{source}/")
        elif is_folder or source.lower().endswith(suffixes):
            yield _unnamed(source) or _unread(folder, source, one) or source
    for one_folder in folders:
        yield from _listed(folder, one_folder, suffixes)


def by_name(
    parse_source: Callable[[str], Entry], suffixes: tuple[str, ...] = AUDIO_SUFFIXES
) -> Callable[[Path], Iterator[Entry]]:
    """A parser of corpora whose file names say everything."""

    def parse(folder: Path) -> Iterator[Entry]:
        for found in audio_files(folder, suffixes):
            yield found if isinstance(found, Reject) else parse_source(found)

    return parse


def by_stem(sources: Iterable[str]) -> dict[str, list[str]]:
    """Audio files by file name without folders and suffix: archives may hold one name twice."""
    found: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        found[stem(source)].append(source)
    return found


def joined(
    labels: Mapping[str, Sequence[Label]], sources: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Label | None, str | None]]:
    """Each label and each audio file of a name, the first with the first and so on.

    Of what stands more often than its counterpart, the rest is joined with the last one: no label
    and no file is passed over. None is where a name has no counterpart at all.
    """
    for name in {**labels, **sources}:
        told, found = labels.get(name, ()), sources.get(name, ())
        for n in range(max(len(told), len(found))):
            label = told[min(n, len(told) - 1)] if told else None
            yield label, found[min(n, len(found) - 1)] if found else None


def text_file(folder: Path, source: str) -> Path:
    """The path of a text file of the corpus, which may be missing.

    Raises:
        PipelineError: A link leads out of the folder.
    """
    path = folder / source
    if os.path.lexists(path) and not path.is_dir() and (bad := links.refused(folder, source)):
        raise PipelineError(f"{path}: {bad.detail}, copy the file in its place")
    return path


def text_files(folder: Path, pattern: str) -> list[Path]:
    """The text files under ``folder`` that match, sorted, without hidden folders.

    Raises:
        PipelineError: A link leads out of the folder.
    """
    sources = [path.relative_to(folder) for path in sorted(folder.rglob(pattern))]
    return [text_file(folder, str(s)) for s in sources if all(map(_is_visible, s.parts))]


def misread(source: str) -> Iterator[str]:
    """How `audio_files` shows a file of this name that an old archive spelt in no UTF-8."""
    for encoding in () if source.isascii() else _OLD_ENCODINGS:
        with suppress(UnicodeEncodeError):
            yield _shown(source.encode(encoding).decode("utf-8", "surrogateescape"))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _shown(source: str) -> str:
    """A file name as text that can be written, its bytes that are no UTF-8 escaped."""
    return source.encode("utf-8", "backslashreplace").decode()


def _unnamed(source: str) -> Reject | None:
    if source.isascii():
        return None
    try:
        source.encode()
    except UnicodeEncodeError:
        return Reject(_shown(source), "name", "the file name is not UTF-8, rename it")
    return None


def _unread(folder: Path, source: str, entry: "os.DirEntry[str]") -> Reject | None:
    refused = links.refused(folder, source) if entry.is_symlink() else None
    if refused or entry.is_file():
        return refused
    return Reject(source, "missing", "a pipe, a socket or a device is in its place")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that loops
        return False


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name
