"""How `split` divides the clips: balanced groups, published and given lists, or at random.

Every function takes the clips of the active corpora (augmented ones left out) and returns folds.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.corpora import speakers, tables
from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits.balance import Group, deal
from pipeline.splits.folds import ROLES, Fold
from pipeline.work.seeds import derive

# What a row of a list may name, the most specific first.
SELECTORS = ("clip", "utterance", "speaker", "session")


def by_group(clips: Sequence[Clip], by: str, count: int | None) -> list[Fold]:
    """Folds whose test clips are whole sessions, speakers or corpora; all others are train.

    The groups are dealt into ``count`` folds, balanced by gender and emotion; with None each is
    one fold. The result depends on no seed.

    Raises:
        PipelineError: A clip's group is unknown, or there are fewer groups than folds.
    """
    groups = groups_of(clips, by)
    if count is None:
        count = len(groups)
    if len(groups) < 2:
        raise PipelineError(
            f"params.yaml: split.by is {by}, but the corpora have {len(groups)} {by}, of which no "
            "one is left to train where it is tested: set split.by to another, or to random"
        )
    if not 2 <= count <= len(groups):
        raise PipelineError(
            f"params.yaml: split.count must be 2 to {len(groups)} (each {by} at least once, or "
            f"all), got {count}"
        )
    tests = [{clip.clip for g in dealt for clip in groups[g]} for dealt in deal(groups, count)]
    return [_fold(clips, test) for test in tests]


def at_random(clips: Sequence[Clip], count: int, seed: int, dev: bool) -> list[Fold]:
    """Folds by utterance, whoever speaks: equal audio stays together, speakers don't.

    Scores made from them tell how well known voices are recognised, not new ones. With ``dev`` the
    next fold's test clips are dev.

    Raises:
        PipelineError: There are fewer utterances than folds.
    """
    units = _units(clips)
    if count > len(units):
        raise PipelineError(
            f"params.yaml: {count} random folds of {len(units)} utterances, lower split.count or "
            "set split.shared to 0"
        )
    order = np.random.default_rng(derive(seed, "split")).permutation(len(units))
    parts = [{clip for i in part for clip in units[i]} for part in np.array_split(order, count)]
    following = parts[1:] + parts[:1] if dev else [set()] * count
    return [
        _fold(clips, test) | dict.fromkeys(stopping, "dev")
        for test, stopping in zip(parts, following, strict=True)
    ]


def listed(clips: Sequence[Clip], paths: Iterable[Path]) -> list[Fold]:
    """Folds that CSV files list: columns ``fold``, ``role``, and whom a row speaks of.

    That is one of ``clip``, ``utterance``, ``speaker`` and ``session``, with an optional
    ``corpus``. Clips that no row of a fold names are left out of it.

    Raises:
        PipelineError: A file is malformed, or a row names no clip or one with another role.
    """
    found: dict[int, Fold] = defaultdict(dict)
    for path in paths:
        index: dict[str, dict[Group, list[Clip]]] = {}
        for line in tables.read(path, ("fold", "role"), ("corpus", *SELECTORS)):
            number, role = line.number("fold", 0, 999), line.cells["role"].lower()
            if number is None or number % 1:
                raise PipelineError(f"{line.where}: fold must be a whole number, 0 for the first")
            fold = found[int(number)]
            for clip in _named(line, role, clips, index):
                if fold.setdefault(clip.clip, role) != role:
                    raise PipelineError(
                        f"{line.where}: {clip.clip} has another role above, remove one"
                    )
    if sorted(found) != list(range(len(found))) or not found:
        numbers = ", ".join(map(str, sorted(found))) or "none"
        raise PipelineError(f"{path}: folds must be numbered from 0, got {numbers}")
    return [found[number] for number in range(len(found))]


def take_dev(clips: Sequence[Clip], folds: Sequence[Fold], by: str) -> list[Fold]:
    """Turn one training speaker or session of each corpus to dev, another one in each fold.

    Among those that take no emotion away from training, if there are any, and have the most; a
    corpus with a single training group keeps it. A fold that has dev clips stays as it is.

    Raises:
        PipelineError: No corpus has a second training group in a fold.
    """
    return [
        fold if "dev" in fold.values() else _with_dev(clips, fold, by, number)
        for number, fold in enumerate(folds)
    ]


def take_dev_at_random(clips: Sequence[Clip], folds: Sequence[Fold], seed: int) -> list[Fold]:
    """Turn a tenth of each fold's training utterances to dev: for speakers that are unknown.

    Equal audio stays together. A fold that has dev clips stays as it is.
    """
    units = _units(clips)
    made = []
    for number, fold in enumerate(folds):
        training = [unit for unit in units if fold.get(unit[0]) == "train"]
        taken = 0 if "dev" in fold.values() else -(-len(training) // 10)
        order = np.random.default_rng(derive(seed, "dev", number)).permutation(len(training))
        made.append(fold | {clip: "dev" for i in order[:taken] for clip in training[i]})
    return made


def add_augmented(clips: Iterable[Clip], fold: Fold) -> Fold:
    """The fold with the augmented children of its training clips."""
    children = {c.clip: "train" for c in clips if fold.get(c.augmented_from) == "train"}
    return fold | children


def groups_of(clips: Iterable[Clip], by: str) -> dict[Group, list[Clip]]:
    """The clips of each group, in order of group.

    Raises:
        PipelineError: A clip's speaker or session is unknown.
    """
    groups: dict[Group, list[Clip]] = defaultdict(list)
    for clip in clips:
        group = (clip.corpus,) if by == "corpus" else (clip.corpus, getattr(clip, by))
        if not all(group):
            raise PipelineError(
                f"{clip.corpus}: {clip.source} has no {by}, complete its labels or mend "
                "split.by and split.dev"
            )
        groups[group].append(clip)
    return dict(sorted(groups.items()))


def _fold(clips: Iterable[Clip], test: Collection[str]) -> Fold:
    return {clip.clip: "test" if clip.clip in test else "train" for clip in clips}


def _with_dev(clips: Sequence[Clip], fold: Fold, by: str, number: int) -> Fold:
    training = groups_of((c for c in clips if fold.get(c.clip) == "train"), by)
    emotions = {group: {c.emotion for c in members} for group, members in training.items()}
    # How many training groups have an emotion: the last one that does should stay.
    left = Counter(emotion for held in emotions.values() for emotion in held)
    dev: set[str] = set()
    for corpus in sorted({group[0] for group in training}):
        candidates = [group for group in training if group[0] == corpus]
        if len(candidates) > 1:
            losses = {g: sum(left[e] == 1 for e in emotions[g]) for g in candidates}
            ranks = {g: (losses[g], -len(emotions[g])) for g in candidates}
            best = [g for g in candidates if ranks[g] == min(ranks.values())]
            taken = best[number % len(best)]
            left.subtract(emotions[taken])
            dev |= {clip.clip for clip in training[taken]}
    if not dev:
        raise PipelineError(
            f"params.yaml: split.dev is {by}, but fold {number} has no corpus with a second "
            f"training {by} that could be dev: set split.dev to none, or add {by}s"
        )
    return {clip: "dev" if clip in dev else role for clip, role in fold.items()}


def _named(
    line: tables.Line,
    role: str,
    clips: Iterable[Clip],
    index: dict[str, dict[Group, list[Clip]]],
) -> list[Clip]:
    """The clips that a row of a list speaks of."""
    cells = line.cells
    column = next((name for name in SELECTORS if name in cells), "")
    if not column or role not in ROLES:
        rule = f"role {', '.join(ROLES)} and a column of {', '.join(SELECTORS)}"
        raise PipelineError(f"{line.where}: expected {rule}")
    if column not in index:
        groups: dict[Group, list[Clip]] = defaultdict(list)
        for clip in clips:
            name = _matched(column, getattr(clip, column))
            groups[name,].append(clip)
            groups[clip.corpus, name].append(clip)
        index[column] = groups
    name = _matched(column, cells[column])
    key = (cells["corpus"], name) if "corpus" in cells else (name,)
    if key not in index[column]:
        raise PipelineError(
            f"{line.where}: no clip has {column} {cells[column]!r}, remove the line"
        )
    return index[column][key]


def _matched(column: str, name: str) -> str:
    """What names are compared by: those of people and sessions as `preprocess` does."""
    return speakers.key(name) if column in ("speaker", "session") else name


def _units(clips: Iterable[Clip]) -> list[list[str]]:
    """Clips that must stay together: of one utterance, or of equal audio."""
    unit_of: dict[str, list[str]] = {}
    for clip in clips:
        mine = unit_of.setdefault(clip.utterance, [])
        other = unit_of.setdefault(clip.sha256, mine)
        if other is not mine:
            other += mine
            for key, unit in unit_of.items():
                if unit is mine:
                    unit_of[key] = other
        unit_of[clip.utterance].append(clip.clip)
    distinct = {id(unit): unit for unit in unit_of.values()}
    return list(distinct.values())
