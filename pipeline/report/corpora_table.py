"""How many files of each emotion each corpus holds, from the manifests.

In the form of Table 2 of "Efficient Fine-Tuning Approaches on HuBERT for Speech Emotion Recognition
on Multiple Labels": emotion, source, count.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.report import plots
from pipeline.report.page import Section, Table
from pipeline.scoring.evaluation import Run
from pipeline.splits.targets import Emotion

Row = tuple[str, str, int]


def rows(clips: Sequence[Clip], task: Emotion | None) -> list[Row]:
    """Emotion, corpus and utterances, sorted; augmented copies and unlabelled ones don't count.

    An emotion that the task merges counts as its class.
    """
    counted = [clip for clip in clips if not clip.augmented_from and clip.emotion]
    utterances = {clip.utterance: (plots.heard(clip, task), clip.corpus) for clip in counted}
    counts = Counter(utterances.values())
    return [(*key, counts[key]) for key in sorted(counts)]


def write(folder: Path, clips: Sequence[Clip], task: Emotion | None) -> None:
    """Write ``corpora.csv`` into an existing folder."""
    files.write_csv(folder / "corpora.csv", ["emotion", "source", "count"], rows(clips, task))


def section(run: Run, _plots: Path) -> Section | None:
    """The table, with a column for each corpus."""
    counts = {(emotion, corpus): count for emotion, corpus, count in rows(run.clips, run.counted)}
    emotions = sorted({emotion for emotion, _ in counts})
    if not emotions:
        return None
    header = ["emotion", *run.corpora, "total"]
    lines = [[emotion, *(counts.get((emotion, c)) for c in run.corpora)] for emotion in emotions]
    lines = [[*line, sum(n for n in line[1:] if isinstance(n, int))] for line in lines]
    sums = [
        sum(n for n in column if n) for column in zip(*(line[1:] for line in lines), strict=True)
    ]
    merge = run.counted.merge if run.counted else {}
    merges = [f"{emotion} as {name}" for emotion, name in sorted(merge.items())]
    merged = [f"Counted by class, as merge says: {', '.join(merges)}."] if merges else []
    return Section(
        "Files for each emotion and source", merged, [Table(header, [*lines, ["total", *sums]])]
    )
