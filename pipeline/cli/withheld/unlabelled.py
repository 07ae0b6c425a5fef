"""What a corpus' authors keep the labels of (MSP-Podcast's Test3), judged by a classifier.

Between clips that `preprocess` made and the command `ser label`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from pipeline.audio.flac import read_clip
from pipeline.corpora.manifest import RATED, Clip
from pipeline.corpora.parsers import msp_podcast
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import track
from pipeline.inference.judge import Floats, Judge

HEADER = ["FileName", "EmoClass"]
# A parser whose corpus has codes for its emotions; of others the class is written out.
CODES: Mapping[str, Mapping[str, str]] = {
    "msp-podcast": {emotion: code for code, emotion in msp_podcast.EMOTIONS.items()}
}


def of(clips: Iterable[Clip]) -> list[Clip]:
    """The clips of which no label is known: no emotion, shares, votes or dimensions."""
    known = ("emotion", *RATED, "augmented_from")
    return [clip for clip in clips if not any(getattr(clip, name) for name in known)]


def codes(parser: str, classes: Sequence[str]) -> list[str]:
    """How the corpus that ``parser`` reads names each class.

    Raises:
        PipelineError: It has no name for one.
    """
    known = CODES.get(parser)
    if known is None:
        return list(classes)
    if strange := [name for name in classes if name not in known]:
        raise PipelineError(
            f"the classifier has the class {strange[0]!r}, which {parser} has no code for, train "
            f"one on classes of: {', '.join(known)}"
        )
    return [known[name] for name in classes]


def file_name(parser: str, source: str) -> str:
    """How the corpus that ``parser`` reads names a file: without folders where it has codes."""
    return PurePosixPath(source).name if parser in CODES else source


def predict(judge: Judge, clips: Sequence[Clip]) -> list[tuple[str, int]]:
    """The source and the class of each utterance, whose logits are the mean of its clips'.

    Raises:
        PipelineError: A clip is damaged or missing.
    """
    sources = {clip.utterance: clip.source for clip in clips}
    found: dict[str, list[Floats]] = defaultdict(list)
    for clip in track(clips, "label", len(clips), "clips"):
        found[clip.utterance] += list(judge.rows([read_clip(clip.file, clip.sha256)]))
    logits = {name: judge.settled(np.mean(rows, 0)) for name, rows in found.items()}
    return [(sources[name], int(one.argmax())) for name, one in logits.items()]
