"""Which labels of the corpora a task covers: a label that no class covers takes no part.

Of votes the labels are the emotions that were voted for, of dimensions their names, of shares the
emotions that have one.

`plan` looks before anything is computed, `split` once the clips are known. Both say what is left
out, and stop over classes and merges that no corpus can fill.
"""

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pipeline.corpora import spellings
from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits.folds import Fold
from pipeline.splits.targets import Task, folded
from pipeline.splits.valued import Valued

# Utterances by corpus and emotion.
Labels = Mapping[tuple[str, str], int]
_WHAT = {
    "emotion": "the class",
    "votes": "a vote for",
    "dimensions": "the dimension",
    "shares": "a share of",
}
NEAR = 0.5  # anger and angry: 0.8, happiness and happy: 0.57, sad and bored: 0.25
TOLD = 10


def labels(task: Task, clips: Iterable[Clip]) -> Labels:
    """How many utterances of each label each corpus holds."""
    held = {c.utterance: (c.corpus, task.held(c)) for c in clips if not c.augmented_from}
    return Counter((corpus, name) for corpus, names in held.values() for name in names)


def left_out(task: Task, held: Labels) -> dict[str, dict[str, int]]:
    """Utterances that no class covers, by emotion and corpus; values may be left aside."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if isinstance(task, Valued):
        return {}
    for (corpus, emotion), count in sorted(held.items()):
        if task.index(emotion) is None:
            found[emotion][corpus] = count
    return dict(found)


def left_out_of(
    tasks: Mapping[str, Task], clips: Sequence[Clip]
) -> dict[str, dict[str, dict[str, int]]]:
    """`left_out` of each task that leaves something out."""
    found = {name: left_out(task, labels(task, clips)) for name, task in tasks.items()}
    return {name: out for name, out in found.items() if out}


def lines(key: str, task: Task, held: Labels) -> list[str]:
    """What a person should know of a task's scope: what takes no part, and idle merges.

    ``key`` is where it stands in ``params.yaml``, here and below.
    """
    out = left_out(task, held)
    told = [
        f"{emotion!r} takes no part: {_counts(where)} utterances, "
        f"{_near_class(emotion, task)} ({key}.classes, {key}.merge)"
        for emotion, where in out.items()
    ]
    if len(told) > TOLD:
        rest = sum(sum(where.values()) for where in list(out.values())[TOLD:])
        told[TOLD:] = [f"{len(told) - TOLD} more labels take no part: {rest} utterances"]
    idle = [f"{key}.merge has {name!r}, which no active corpus holds" for name in _idle(task, held)]
    return told + idle


def require_filled(key: str, task: Task, held: Labels) -> None:
    """Check that each class has utterances, and that no merge misses a label by its spelling.

    Raises:
        PipelineError: One has none; every such class and merge is named, with the nearest label.
    """
    if isinstance(task, Valued) and not held:
        raise PipelineError(
            f"params.yaml: {key} does not fit the corpora: no utterance has {task.target}, add a "
            "corpus that has them, or take it out of tasks, or empty networks.features"
        )
    names = [emotion for _, emotion in held]
    filled = {task.index(name) for name in names}
    empty = [name for index, name in enumerate(task.names) if index not in filled]
    out, what = list(left_out(task, held)), _WHAT[task.target]
    problems = [f"no utterance has {what} {n!r}{_hint(n, out or names)}" for n in empty]
    misspelt = [merged for merged in _idle(task, held) if _alike(merged, out)]
    problems += [f"no utterance has the merged {name!r}{_hint(name, out)}" for name in misspelt]
    if problems:
        raise PipelineError(
            f"params.yaml: {key} does not fit the corpora: {'; '.join(problems)}; "
            "mend it, or add a corpus that has them"
        )


def require_one_scale(
    key: str, task: Task, scales: Mapping[str, Mapping[str, Sequence[float]]]
) -> None:
    """Check that each dimension was rated on one scale; corpora that name none are passed over.

    Args:
        scales: By corpus and dimension, its ends.

    Raises:
        PipelineError: Two corpora rated a dimension on different scales.
    """
    for name in task.names if task.target == "dimensions" else ():
        known = {corpus: own[name] for corpus, own in scales.items() if own.get(name)}
        if len({tuple(ends) for ends in known.values()}) > 1:
            told = " and ".join(f"{low:g} to {high:g} in {c}" for c, (low, high) in known.items())
            raise PipelineError(
                f"params.yaml: {key} has {name!r}, which was rated {told}, "
                "name one of these corpora at a time"
            )


def require_trained(key: str, task: Task, clips: Sequence[Clip], made: Mapping[int, Fold]) -> None:
    """Check that every class has a training clip in each of the folds, by number.

    Raises:
        PipelineError: One has none; folds and classes are named, and where their clips went.
    """
    held = {c.clip: {task.index(name) for name in task.held(c)} for c in clips}
    problems = []
    for number, fold in made.items():
        roles = defaultdict(set)
        for clip, labels in held.items():
            for label in labels:
                roles[label].add(fold.get(clip, ""))
        for label, name in enumerate(task.names):
            if "train" not in roles[label]:
                problems.append(f"fold {number} trains no {name!r}, {_why(roles[label])}")
    if problems:
        shown = "; ".join(problems[:TOLD]) + ("; ..." if len(problems) > TOLD else "")
        raise PipelineError(
            f"params.yaml: {shown}; mend it, remove it from {key} or the fold from folds"
        )


def _why(roles: set[str]) -> str:
    if "" in roles:
        return "its other clips are in no role (split.train_share, or the folds that are listed)"
    if "dev" in roles:
        return "split.dev took all of it (split.dev none takes nobody)"
    return "all of it is tested (split.by, split.count)" if roles else "which no clip there is"


def _idle(task: Task, held: Labels) -> list[str]:
    known = {folded(emotion) for _, emotion in held}
    return [key for key in task.merge if folded(key) not in known]


def _counts(where: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {corpus}" for corpus, count in where.items())


def _near_class(emotion: str, task: Task) -> str:
    near = _nearest(emotion, task.names)
    return f"nearest class {near!r}" if near else "no class is near it"


def _hint(name: str, known: Sequence[str]) -> str:
    near = _nearest(name, known)
    return f" (nearest label {near!r})" if near else ""


def _nearest(name: str, known: Sequence[str]) -> str:
    """The known label that means the same emotion, or is spelt most alike; empty: none."""
    return spellings.meant(name, known) or _alike(name, known)


def _alike(name: str, known: Sequence[str]) -> str:
    names = {folded(one): one for one in known}
    close = difflib.get_close_matches(folded(name), names, n=1, cutoff=NEAR)
    return names[close[0]] if close else ""
