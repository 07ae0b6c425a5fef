"""Where phones lie in clips: ``phones.csv``, optional, in a corpus and beside its manifest.

A corpus that comes with an alignment, as the demo does, holds ``path,start_s,end_s,class`` (seconds
from the start of the file; other columns are ignored). `preprocess` carries it over to the clips,
as ``clip,start_s,end_s,class``, and `cluster` compares units with it. Augmented clips get none:
stretching moves phones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from pipeline.corpora import tables
from pipeline.corpora.folder import text_file
from pipeline.corpora.manifest import CLIPS, Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

FILE = "phones.csv"
_TIMES = ("start_s", "end_s")

Phones = Mapping[str, Sequence["Phone"]]


@dataclass(frozen=True)
class Phone:
    """A stretch of a clip (or file) and the class of its phone, such as vowel."""

    start_s: float
    end_s: float
    kind: str


def carry_over(raw: Path, clips: Iterable[Clip], folder: Path) -> None:
    """Write the phones of ``clips`` to ``folder``, nothing where the corpus has no alignment.

    Raises:
        PipelineError: The corpus' file is malformed, or its phones overlap.
    """
    path = text_file(raw, FILE)
    if not path.is_file():
        return
    of_source = _read(path, "path")
    rows = []
    for clip in sorted(clips, key=lambda clip: clip.clip):
        for phone in (
            () if clip.augmented_from else of_source.get(normalize("NFC", clip.source), ())
        ):
            start_s = max(phone.start_s - clip.start_s, 0.0)
            end_s = min(phone.end_s - clip.start_s, clip.duration_s)
            if start_s < end_s:
                rows.append([clip.clip, f"{start_s:.6f}", f"{end_s:.6f}", phone.kind])
    files.write_csv(folder / FILE, ["clip", *_TIMES, "class"], rows)


def read(corpora: Sequence[str], root: Path = CLIPS) -> Phones:
    """The phones of each clip of the named corpora that come with an alignment.

    Raises:
        PipelineError: A file is damaged.
    """
    found: dict[str, list[Phone]] = {}
    for path in (root / corpus / FILE for corpus in corpora):
        if path.is_file():
            with files.unchanged(path):
                files.require_intact(path)
                found |= _read(path, "clip")
    return found


def frames(
    phones: Phones,
    clips: Sequence[str],
    offsets: npt.NDArray[np.int64],
    hop_s: float,
    first_s: float,
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Where each phone begins among the frames of all clips, and its class.

    A phone owns the frames whose centre lies in it; the first frame's is at ``first_s`` of its
    clip. Class "" is where no phone is. Begins ascend, and of equal ones the last holds.
    """
    begins, kinds = [], []
    for clip, (start, stop) in zip(clips, pairwise(offsets.tolist()), strict=True):
        begins.append(start)
        kinds.append("")
        for phone in phones.get(clip, ()):
            times = np.array([phone.start_s, phone.end_s])
            edges = np.clip(np.ceil((times - first_s) / hop_s), 0, stop - start)
            begins += (start + edges.astype(np.int64)).tolist()
            kinds += [phone.kind, ""]
    return np.array(begins, np.int64), kinds


def _read(path: Path, key: str) -> dict[str, list[Phone]]:
    found: dict[str, list[Phone]] = {}
    for line in tables.read(path, (key, *_TIMES, "class")):
        cells = line.cells
        start_s, end_s = (line.number(name, 0, 1e6) for name in _TIMES)
        own = found.setdefault(cells[key], [])
        before_s = own[-1].end_s if own else 0.0
        if start_s is None or end_s is None or not before_s <= start_s <= end_s:
            raise PipelineError(
                f"{line.where}: expected phones in order of time, each with start_s <= end_s, "
                f"got {cells['start_s']!r} to {cells['end_s']!r} after {before_s:g}"
            )
        own.append(Phone(start_s, end_s, cells["class"]))
    return found
