"""The sections of the report, in the order in which they are read.

A section is a small function: it takes the run that `evaluate` scored and the folder for pictures
(``results/plots``), draws its own pictures there, and returns a `Section`, or None where the run
has nothing for it; the result, the protocol and the tasks come first. To add one, write such a
function (in a module of its own where it needs more than scores) and name it in `SECTIONS`; those
of `pipeline.report.trust`, which this room can't know, are named by the stage.
"""

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ruamel.yaml import YAML

from pipeline.corpora.manifest import Clip
from pipeline.report import (
    anonymous,
    calibration_section,
    corpora_table,
    cross_section,
    dimensions_section,
    plots,
    probe_section,
    protocols_section,
    units_section,
)
from pipeline.report.page import Section, Table, interval, page
from pipeline.scoring import trained_on
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Scores
from pipeline.splits.targets import Emotion
from pipeline.splits.valued import Valued

ENVIRONMENT = "environment.html"

Make: TypeAlias = Callable[[Run, Path], Section | None]


def protocol(run: Run, _plots: Path) -> Section:
    """Under which protocol every score was made."""
    about = run.protocol
    kind = (
        "speaker-independent: no test speaker was ever in train or dev"
        if about["speaker_independent"]
        else "not speaker-independent: speakers (or unnamed ones) are on both sides, so these "
        "scores overstate what a new speaker would get"
    )
    folds = ", ".join(str(fold) for fold in about["folds"])
    notes = [
        *trained_on.remarks(about),
        f"Folds by {about['by']}, {kind}. Folds {folds} of {about['of']} were run, with seed "
        f"{about['seed']}. Scores pool the test utterances of all folds; sd is over folds. "
        "Intervals are 95 %, by a bootstrap over speakers "
        f"({about['resamples']} resamples), and none is given below five speakers. "
        "An utterance counts once, with the mean of its clips' logits.",
    ]
    if "train_share" in about:
        left = sorted({str(count) for count in about["train_speakers"]}, key=int)
        notes.append(
            f"Trained on {about['train_share']:.0%} of the training speakers alone: a fold has "
            f"{' or '.join(left)} of them (split.train_share)."
        )
    if "demo" in run.corpora:
        notes.append("The corpus demo is synthetic: its scores measure the machinery, not people.")
    return Section("Protocol", notes)


def task(name: str, run: Run, folder: Path) -> Section | None:
    """The section of a task, by its target."""
    if isinstance(run.tasks[name], Valued):
        return dimensions_section.section(name, run, folder)
    return classes(name, run, folder)


def classes(name: str, run: Run, folder: Path) -> Section | None:
    """A task's classifiers: scores, scores by corpus, recalls, confusions, learning curves.

    Votes are scored on the classes of those utterances that are decided, and as distributions.
    """
    own = [c for c in run.classifiers if c.task == name and "uar" in c.scores]
    systems = {f"{c.start} {c.method}": c.scores for c in own}
    if not systems:
        return None
    names = own[0].classes
    shown = {system: trained_on.marked(system, run.protocol) for system in systems}
    rows = [[shown[name], *_main(found)] for name, found in systems.items()]
    recalls = [
        [shown[name], *(found["recall"].get(label) for label in names)]
        for name, found in systems.items()
    ]
    parts = [
        [shown[name], corpus, *_main(scores)]
        for name, found in systems.items()
        for corpus, scores in found["corpora"].items()
    ]
    return Section(
        name.capitalize(),
        [
            "UAR: unweighted average recall. WAR: accuracy, also micro F1. EER: equal error rate, "
            "one class against the rest, at the threshold where both errors are equal. EER at "
            "argmax: the mean of both errors of the decisions made, as one of the papers reports "
            "it.",
            *trained_on.remarks(run.protocol),
        ],
        [
            Table(["start, method", *MAIN], rows),
            *([Table(["start, method", "corpus", *MAIN], parts, "By corpus")] if parts else []),
            *_distributions(systems),
            Table(["start, method", *names], recalls, "Recall by class"),
        ],
        _draw_emotion(own, folder),
    )


def _distributions(systems: Mapping[str, Scores]) -> list[Table]:
    """How near the votes' own distributions are; none where nobody voted."""
    rows = [
        [
            name,
            found["js"],
            interval(found, "js"),
            found["cross_entropy"],
            found["utterances"],
            found["undecided"],
        ]
        for name, found in systems.items()
        if "js" in found
    ]
    header = ["start, method", "Jensen-Shannon, bits", "95\u00a0%", "cross-entropy, nats"]
    caption = "Against the distribution of the votes; undecided utterances have no class above"
    return [Table([*header, "utterances", "undecided"], rows, caption)] if rows else []


MAIN = ["UAR", "95\u00a0%", "fold mean", "fold sd", "WAR", "F1 macro", "F1 weighted", "EER"]
MAIN += ["EER at argmax", "utterances", "speakers"]


def _main(scores: Scores) -> Sequence[object]:
    keys = ("uar_mean", "uar_sd", "war", "f1_macro", "f1_weighted", "eer", "eer_argmax")
    return [
        scores.get("uar"),
        interval(scores, "uar"),
        *(scores.get(key) for key in keys),
        scores["utterances"],
        scores["speakers"],
    ]


def _draw_emotion(own: Sequence[Classifier], folder: Path) -> list[Path]:
    drawn = []
    for c in own:
        drawn.append(folder / f"confusion-{c.name}.png")
        title = f"{c.start} {c.method}: test confusions"
        plots.confusion(drawn[-1], title, np.array(c.scores["confusion"]), c.classes)
    return [*drawn, *plots.learnt(own, folder)]


def corpora(run: Run, folder: Path) -> Section:
    """What `preprocess` found in each corpus, and what it holds."""
    rows, drawn = [], []
    for name, audit in run.audits.items():
        rows.append(
            [
                name,
                audit["found"],
                audit["kept"],
                sum(audit["out_of_scope"].values()),
                sum(audit["rejected"].values()),
                audit["clips"],
                f"{audit['duration_s'] / 60:.1f}",
                len(audit["counts"].get("speaker", {})),
            ]
        )
        drawn.append(folder / f"corpus-{name}.png")
        title = (
            f"{name}: {audit['kept']} of {audit['found']} files kept, "
            f"{audit['duration_s'] / 60:.1f} minutes"
        )
        _draw_corpus(drawn[-1], title, [c for c in run.clips if c.corpus == name], run.counted)
    header = ["corpus", "found", "kept", "out of scope", "rejected", "clips", "minutes", "speakers"]
    warnings = [
        f"{name}: {anonymous.without_names(warning, audit['counts'].get('speaker', {}))}"
        for name, audit in run.audits.items()
        for warning in audit["warnings"]
    ]
    for task, labels in run.protocol.get("left_out", {}).items():
        for emotion, where in labels.items():
            counts = ", ".join(f"{count} {name}" for name, count in where.items())
            warnings.append(f"{task}: of no class, left out: {emotion} ({counts})")
    return Section("Corpora", warnings, [Table(header, rows)], drawn)


def _draw_corpus(path: Path, title: str, clips: Sequence[Clip], task: Emotion | None) -> None:
    clips = [clip for clip in clips if not clip.augmented_from]
    classes: dict[str, Counter[str]] = {gender: Counter() for gender in plots.GENDERS}
    for clip in {clip.utterance: clip for clip in clips}.values():
        classes[clip.gender][plots.heard(clip, task)] += 1
    present = {gender: counts for gender, counts in classes.items() if counts}
    plots.corpus(path, title, present, [clip.duration_s for clip in clips])


def environment(_run: Run, _plots: Path) -> Section:
    """Where the page is that `environment_page` makes: this one must not depend on the machine."""
    note = (
        f"Library versions, devices and times are no part of this page, so that equal work gives "
        f"equal bytes; they are in {ENVIRONMENT} on the machine that made it."
    )
    return Section("Environment", [note], beside=ENVIRONMENT)


def environment_page(found: Sequence[Mapping[str, Any]]) -> str:
    """A page of what ran on this machine for these scores: records of `pipeline.ground.runs`."""
    rows = [
        [one["command"], one["seconds"], one["peak_mib"], one["device"], one["finished"]]
        for one in found
    ]
    header = ["command", "seconds", "peak\u00a0MiB", "device", "finished"]
    names = dict.fromkeys(name for one in found for name in one["versions"])
    used = {name: sorted({one["versions"].get(name, "-") for one in found}) for name in names}
    versions = [[name, ", ".join(values)] for name, values in used.items()]
    notes = [
        "The runs on this machine that made what is scored here; what came from a cache, or was "
        "made elsewhere, has none."
    ]
    libraries = Section("Libraries", tables=[Table(["library", "version"], versions)])
    return page([libraries, Section("Runs", notes, [Table(header, rows)])], "Environment")


def reproduce(run: Run, _plots: Path) -> Section:
    """How to get the same again."""
    text = io.StringIO()
    YAML().dump(dict(run.settings), text)
    again = "make demo" if run.corpora == ["demo"] else "dvc repro"
    return Section(
        "Reproduce",
        code=f"git checkout <the commit that holds this dvc.lock>\n{again}",
        folded=[("The settings of this run, from params.yaml", text.getvalue())],
    )


WORDS = {
    "clip": "at most preprocess.max_clip_s of an utterance: what everything works on.",
    "utterance": "what has a label; its prediction is the mean of its clips'.",
    "fold": "one division of the speakers into train, dev and test.",
    "start": "what a classifier begins from: cached features by their name, the pretrained "
    "encoder, or the one retrained on units.",
    "method": "how it is adapted: linear (scikit-learn), frozen (a head on cached features), "
    "lora-qkv and lora-classifier (adapters), full (all weights), crnn and cnn-lstm "
    "(networks from nothing on cached frames, the latter with attention or without).",
    "units": "k-means' clusters of an encoder's frames: GMP-ATL's pseudo-labels.",
    "share": "the fraction of listeners who hear an emotion.",
    "UAR": "mean recall of the classes. WAR: accuracy. EER: equal error rate. CCC: concordance "
    "correlation. rho: Spearman's.",
}


def words(_run: Run, _plots: Path) -> Section:
    """What the page's words mean."""
    return Section("Words", [f"{word}: {meaning}" for word, meaning in WORDS.items()])


SECTIONS: Sequence[Make] = (
    calibration_section.section,
    protocols_section.section,
    cross_section.section,
    probe_section.layers,
    probe_section.places,
    units_section.section,
    corpora,
    corpora_table.section,
    words,
    environment,
    reproduce,
)


def of(
    run: Run, folder: Path, first: Section | None = None, further: Sequence[Section | None] = ()
) -> list[Section]:
    """The sections of a run, ``further`` after its tasks; pictures are drawn into ``folder``."""
    tasks = [task(name, run, folder) for name in run.tasks]
    rest = [make(run, folder) for make in SECTIONS]
    made = [first, protocol(run, folder), *tasks, *further, *rest]
    return [section for section in made if section]
