"""Two protocols side by side: speakers that nobody has heard, and the same voices on both sides.

A paper's random split of the utterances measures the second, and its scores are read as if they
were the first. Where ``split.shared`` adds such folds, this is the gap between them.
"""

from collections.abc import Mapping, Sequence

from pipeline.corpora.manifest import Clip
from pipeline.scoring import scores
from pipeline.scoring.active import System
from pipeline.splits.folds import Fold

Systems = dict[System, list[int]]


def separate(
    systems: Mapping[System, Sequence[int]], clips: Sequence[Clip], made: Sequence[Fold]
) -> tuple[Systems, Systems]:
    """What is scored, and the folds that are scored beside it because speakers are on both sides.

    A system that has speaker-independent folds is scored by them alone.
    """
    apart = {
        fold
        for fold in {fold for used in systems.values() for fold in used}
        if fold < len(made) and scores.speaker_independent(clips, [made[fold]])
    }
    main, beside = {}, {}
    for system, used in systems.items():
        shared = [fold for fold in used if fold not in apart]
        if apart & set(used) and shared:
            beside[system] = shared
        main[system] = [fold for fold in used if fold in apart] or list(used)
    return main, beside
