"""What an encoder may be pretrained on as a whole: corpora that are never scored.

Under another name, of another release or copied into another corpus, recordings stay what they are.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from pipeline.corpora import registry
from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, load


def require_unscored(unlabelled: Sequence[str], path: Path = PARAMS_FILE) -> None:
    """Check that no corpus to pretrain on is scored, under this name or another.

    Raises:
        PipelineError: One is in ``corpora``, or is read by the parser of one that is.
    """
    corpora = load("corpora", list[str], path)
    scored: dict[object, str] = {_recordings(name, path): name for name in corpora}
    scored |= {name: name for name in corpora}
    for name in unlabelled:
        if other := scored.get(name) or scored.get(_recordings(name, path)):
            raise PipelineError(
                f"params.yaml: pretrain.corpora has {name!r}, which corpora scores"
                f"{'' if other == name else f' as {other!r}'}: nothing fitted sees a test speaker, "
                "remove it from one of them, or name folds in pretrain.folds"
            )


def require_other_audio(unlabelled: Iterable[Clip], scored: Iterable[Clip]) -> None:
    """Check that no recording to pretrain on is one that is scored, whatever its corpus is called.

    Raises:
        PipelineError: One is; both are named.
    """
    held = {clip.sha256: clip for clip in scored}
    for clip in unlabelled:
        if other := held.get(clip.sha256):
            raise PipelineError(
                f"params.yaml: pretrain.corpora has {clip.corpus!r}, whose {clip.clip} is the "
                f"audio of {other.clip}, which is scored: nothing fitted sees a test speaker, "
                f"remove {clip.corpus!r}, or that recording from it"
            )


def _recordings(corpus: str, path: Path) -> object:
    """What stands for a corpus' recordings: its name, or what reads them, a release or another."""
    parser = load(f"corpus.{corpus}.parser", str, path)
    if parser in registry.OF_ANY_CORPUS:
        return corpus
    parse = registry.corpus_of(parser).parse
    return parse.func if isinstance(parse, partial) else parse
