"""Which files of the places that a user names are judged, and which are named as no such thing.

Nothing that may be a recording is passed over in silence; what the system hides is no recording.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.corpora.folder import AUDIO_SUFFIXES
from pipeline.ground.errors import PipelineError

# Formats that are not read: found all the same, so that each has its line.
OTHERS = {".3gp", ".aac", ".ac3", ".amr", ".ape", ".au", ".caf", ".m4a", ".m4b", ".mka", ".mkv"}
OTHERS |= {".mov", ".mp2", ".mp4", ".mpc", ".snd", ".sph", ".w64", ".wave", ".webm", ".wma", ".wv"}
# Standard input, by the name that it has for other tools.
STDIN = Path("-")
# What macOS puts into its archives beside hidden files.
COMPANIONS = "__MACOSX"


def audio_files(places: Sequence[Path]) -> list[Path]:
    """Each file, and the recordings below each folder, sorted; hidden ones only where named.

    ``-`` stands for standard input.

    Raises:
        PipelineError: There is no such file or folder, or a folder without a recording.
    """
    found: list[Path] = []
    for place in places:
        if place == STDIN:
            found.append(place)
            continue
        if not os.path.lexists(place):
            raise PipelineError(f"{place}: no such file or folder, check the path")
        inside = sorted(_below(place)) if place.is_dir() else [place]
        if not inside:
            raise PipelineError(f"{place}: no audio file below it, name one or another folder")
        found += inside
    return found


def require_file(path: Path) -> None:
    """Refuse what would block or never end: a FIFO, a socket, a device.

    Raises:
        PipelineError: It is none of the files that hold bytes.
    """
    if path.is_symlink() and not path.exists():
        raise PipelineError(f"{path}: a link to nothing, mend it")
    if not path.is_file():
        kind = "a FIFO" if path.is_fifo() else "a folder, socket or device"
        raise PipelineError(f"{path}: {kind}, expected a file of audio, copy it into one")


def _below(folder: Path) -> Iterator[Path]:
    """What is named like a recording; folders that are links are entered once."""
    entered = set()
    for root, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        entered.add(os.path.realpath(root))
        inner = {name: os.path.realpath(Path(root, name)) for name in _shown(folders)}
        folders[:] = [name for name, real in inner.items() if real not in entered]
        for name in _shown(names):
            if Path(name).suffix.lower() in {*AUDIO_SUFFIXES, *OTHERS}:
                yield Path(root, name)


def _refuse(error: OSError) -> None:
    raise PipelineError(f"{error.filename}: {error.strerror}, mend its permissions")


def _shown(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith(".") and name != COMPANIONS)
