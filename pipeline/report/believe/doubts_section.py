"""The report's sections on what is worth listening to, with the recordings beside the page.

Recordings are copied under numbers into ``results/listen``: the page holds no voice and no name of
a speaker or a file, and has players where that folder lies beside it.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.report import anonymous
from pipeline.report.page import Player, Section, Table
from pipeline.scoring.believe.doubts import Doubt, Doubts
from pipeline.scoring.evaluation import Run

LISTEN = "listen"  # beside the page
DISPUTED, MISTAKEN = 20, 10  # that are listed
NOTE = (
    "Labels may be wrong, too. Below are utterances whose label the classifiers of all folds and "
    "methods together speak against, each of which had learnt from other {apart} alone: confident "
    "learning (Northcutt et al., 2021) on the mean of their calibrated probabilities, the surest "
    "first. Listen before you mend a corpus: an utterance may be ambiguous, or just hard. The "
    "numbers are those of tables/doubts-{task}.csv, which names the files."
)
HEADER = ["number", "listen", "corpus", "speaker", "label", "heard as", "p of the label"]
HEADER += ["p of the other", "disputed by"]


def numbered(found: Doubts) -> dict[str, int]:
    """A number for each utterance that is disputed or mistaken, from 1."""
    names = [one.utterance for one in (*found.disputed, *found.mistaken)]
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def sections(run: Run, doubts: Mapping[str, Doubts], listen: Path) -> list[Section]:
    """A section for each task that has doubts; its recordings are copied into ``listen``."""
    return [
        _section(task, run, found, listen)
        for task, found in doubts.items()
        if found.disputed or found.mistaken
    ]


def write(folder: Path, doubts: Mapping[str, Doubts], clips: Iterable[Clip]) -> None:
    """``doubts-<task>.csv``: every doubted utterance with its file, by number."""
    sources = {clip.utterance: clip.source for clip in clips if not clip.augmented_from}
    header = ["number", "disputed", "utterance", "source", "label", "other", "p_label", "p_other"]
    for task, found in doubts.items():
        numbers = numbered(found)
        rows: dict[str, Sequence[object]] = {}
        for kind, listed in (("yes", found.disputed), ("no", found.mistaken)):
            for one in listed:
                told = [sources.get(one.utterance, ""), one.label, one.other]
                values = [f"{one.of_label:.4f}", f"{one.of_other:.4f}", one.against, one.systems]
                row = [numbers[one.utterance], kind, one.utterance, *told, *values]
                rows.setdefault(one.utterance, row)
        path = folder / f"doubts-{task}.csv"
        files.write_csv(path, [*header, "disputed_by", "of"], rows.values())


def _section(task: str, run: Run, found: Doubts, listen: Path) -> Section:
    shown = [*found.disputed[:DISPUTED], *found.mistaken[:MISTAKEN]]
    numbers = numbered(found)
    players = _players(task, shown, numbers, run.clips, listen)
    speakers = anonymous.numbered(clip.speaker for clip in run.clips)
    known = {clip.utterance: clip for clip in run.clips if not clip.augmented_from}

    def row(one: Doubt) -> Sequence[object]:
        clip, player = known.get(one.utterance), players.get(one.utterance)
        who = [clip.corpus, speakers[clip.speaker]] if clip else [None, None]
        told = [one.label, one.other, one.of_label, one.of_other]
        return [numbers[one.utterance], player, *who, *told, f"{one.against} of {one.systems}"]

    count = f"{len(found.disputed)} of {found.labels} labels are disputed."
    absent = len({one.utterance for one in shown}) - len(players)
    missing = [f"{absent} recordings are not here, and have no player."] if absent else []
    apart = "speakers" if run.protocol["speaker_independent"] else "utterances"
    return Section(
        f"Worth listening to: {task}",
        [NOTE.format(task=task, apart=apart), count, *missing],
        [
            Table(HEADER, [row(one) for one in found.disputed[:DISPUTED]], "Disputed labels"),
            Table(
                HEADER,
                [row(one) for one in found.mistaken[:MISTAKEN]],
                "The most confident mistakes, disputed or not",
            ),
        ],
    )


def _players(
    task: str,
    shown: Sequence[Doubt],
    numbers: Mapping[str, int],
    clips: Iterable[Clip],
    listen: Path,
) -> dict[str, Player]:
    """Copies the first clip of each utterance that is shown."""
    wanted, players = {one.utterance for one in shown}, {}
    for clip in sorted(clips, key=lambda clip: clip.start_s):
        name = clip.utterance
        is_wanted = name in wanted and name not in players and not clip.augmented_from
        if is_wanted and clip.file.is_file():
            target = f"{task}-{numbers[name]}{clip.file.suffix}"
            shutil.copyfile(clip.file, listen / target)
            players[name] = Player(f"{LISTEN}/{target}")
    return players
