"""A share of each fold's training speakers: what a learning curve over speakers is made of.

Dev and test stay as they are, so that all shares are scored on the same utterances. Shares are
nested: what 10 % of the speakers are is among 25 % of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits.balance import Group
from pipeline.splits.folds import Fold
from pipeline.work.seeds import derive


def take(clips: Sequence[Clip], folds: Sequence[Fold], share: float, seed: int) -> list[Fold]:
    """The folds with a share of their training speakers; of the others no clip is in the fold.

    At least one speaker stays. Corpora and genders are thinned alike.

    Raises:
        PipelineError: A training clip has no speaker.
    """
    return [_thinned(clips, fold, share, derive(seed, "train", n)) for n, fold in enumerate(folds)]


def speakers(clips: Iterable[Clip], fold: Fold) -> set[str]:
    """Who trains in a fold, of those who are known."""
    return {clip.speaker for clip in clips if clip.speaker and fold.get(clip.clip) == "train"}


def _thinned(clips: Sequence[Clip], fold: Fold, share: float, seed: int) -> Fold:
    training = [clip for clip in clips if fold.get(clip.clip) == "train"]
    if nameless := next((clip for clip in training if not clip.speaker), None):
        raise PipelineError(
            f"{nameless.corpus}: {nameless.source} has no speaker, complete its labels or set "
            "split.train_share to 1.0"
        )
    order = _in_order(training, np.random.default_rng(seed))
    kept = set(order[: max(1, int(share * len(order) + 0.5))])
    left_out = {clip.clip for clip in training if clip.speaker not in kept}
    return {clip: role for clip, role in fold.items() if clip not in left_out}


def _in_order(training: Iterable[Clip], rng: np.random.Generator) -> list[str]:
    """The speakers, drawn so that any first part has each corpus and gender at its share.

    The k-th of a group's n speakers stands at (k + u) / n of the way, u drawn for the group.
    """
    groups: dict[Group, set[str]] = defaultdict(set)
    for clip in training:
        groups[clip.corpus, clip.gender].add(clip.speaker)
    places: dict[str, float] = {}
    for _, names in sorted(groups.items()):
        first = rng.random()
        for place, at in enumerate(rng.permutation(len(names)).tolist()):
            places.setdefault(sorted(names)[at], (place + first) / len(names))
    return sorted(places, key=lambda name: (places[name], name))
