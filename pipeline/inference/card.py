"""The model card of an exported classifier: what it learnt from, how it scored, and its limits.

Made of what the run left: the design, the manifests, the folds and ``results/scores.json``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.corpora.manifest import Clip
from pipeline.inference.passport import Learnt, Passport

# Notes, not advice: read the licence that came with your copy (docs/corpora.md has the sources).
LICENCES = {
    "demo": "synthetic, made by this project",
    "emodb": "CC0 1.0",
    "emodb-ambiguous": "CC0 1.0",
    "ravdess": "CC BY-NC-SA 4.0: not for commercial use",
    "crema-d": "ODbL 1.0, contents DbCL 1.0",
    "tess": "Creative Commons, not for commercial use; the variant was not checked",
    "savee": "for research, after registration; the wording was not checked",
    "iemocap": "by request to its authors",
    "emotion-share": "that of the ComParE 2023 challenge; not checked",
    "esd": "for research alone",
    "nemo": "CC BY-NC-SA 4.0: not for commercial use",
    "meld": "GPL 3.0 for the tables; the audio is a broadcaster's",
    "msp-podcast": "by agreement with its authors, for research",
    "mead": "for research, not for commercial use; the wording was not checked",
    "table": "yours",
    "audformat": "that of the database (`license` in its db.yaml)",
}
SCORES = {
    "UAR": "uar",
    "accuracy": "war",
    "F1 macro": "f1_macro",
    "F1 weighted": "f1_weighted",
    "EER": "eer",
    "Jensen-Shannon divergence of the votes": "js",
    "CCC": "ccc",
    "Pearson": "pearson",
    "mean absolute error": "mae",
}
DISTRIBUTION = "ser-pipeline"


@dataclass(frozen=True)
class Usage:
    """A program that classifies, the library that loads the folder, and what is to be said."""

    program: str
    library: str
    note: str


@dataclass(frozen=True)
class Data:
    """The clips of the active corpora, their roles in a fold, and each corpus's parser.

    ``heard`` has the parsers of the corpora on which the encoder was pretrained here.
    """

    clips: Sequence[Clip]
    roles: Mapping[str, str]
    parsers: Mapping[str, str]
    heard: Mapping[str, str]


def learnt(data: Data) -> list[Learnt]:
    """The corpora that a classifier was trained on."""
    train = {clip.corpus for clip in data.clips if data.roles.get(clip.clip) == "train"}
    return [
        Learnt(corpus=corpus, licence=LICENCES.get(parser, "unknown"))
        for corpus, parser in data.parsers.items()
        if corpus in train
    ]


def text(
    told: Passport,
    usage: Usage,
    data: Data | None,
    measured: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> str:
    """The card as Markdown with the hub's YAML header.

    Args:
        told: What the model says of itself.
        usage: The program that the card shows.
        data: What it learnt from; None where that is not here.
        measured: The protocol and the scores of the classifier's method; None before `evaluate`.
    """
    clips = data.clips if data else ()
    languages = sorted({clip.language for clip in clips if len(clip.language) == 2})
    encoder = told.encoder
    published = f", {encoder.repository} at `{encoder.revision}`" if encoder.revision else ""
    weights = f" (sha256 `{encoder.weights_sha256}`{published})" if encoder.weights_sha256 else ""
    lines = [
        "---",
        f"library_name: {usage.library}",
        "pipeline_tag: audio-classification",
        "tags: [speech-emotion-recognition]",
        *([f"language: [{', '.join(languages)}]"] if languages else []),
        "license: other",
        "---",
        f"# Speech emotions: {', '.join(told.classes)}",
        "",
        f"Method `{told.method}` on the encoder `{encoder.name}`{weights}, "
        f"classifier `{told.name}`.",
        "",
        "## How to use it",
        "",
        f"`ser predict FILE --model FOLDER` of the package `{DISTRIBUTION}`, or in Python:",
        "",
        "```python",
        usage.program,
        "```",
        "",
        usage.note,
        "",
        f"Licence of the encoder: {encoder.licence or 'not known, see where it was published'}.",
        "",
        *_data(data),
        *_scores(measured),
        "## Limits",
        "",
        "Acted and posed speech says little about felt emotions, and nothing about what a person "
        "is like. Do not decide about people with it.",
    ]
    return "\n".join(lines) + "\n"


def _data(data: Data | None) -> list[str]:
    if data is None:
        return ["## Data", "", "Not known where this card was written.", ""]
    roles = data.roles
    lines = [
        "## Data",
        "",
        "| corpus | licence | role | utterances | speakers |",
        "|---|---|---|---|---|",
    ]
    for corpus, parser in data.parsers.items():
        for role in ("train", "dev", "test"):
            own = [c for c in data.clips if c.corpus == corpus and roles.get(c.clip) == role]
            if own:
                # How many, and not who: the card leaves the machine.
                speakers = len({c.speaker for c in own if c.speaker}) or "unknown"
                count = len({c.utterance for c in own})
                licence = LICENCES.get(parser, "unknown")
                lines.append(f"| {corpus} | {licence} | {role} | {count} | {speakers} |")
    emotions = Counter(
        {c.utterance: c.emotion for c in data.clips if roles.get(c.clip) == "train"}.values()
    )
    told = ", ".join(f"{name} {count}" for name, count in sorted(emotions.items()))
    lines += ["", f"Training utterances by emotion: {told}."]
    if data.heard:
        corpora = [f"{c} ({LICENCES.get(parser, 'unknown')})" for c, parser in data.heard.items()]
        lines += ["", f"Its encoder was pretrained without labels on: {'; '.join(corpora)}."]
    return [*lines, ""]


def _scores(measured: tuple[Mapping[str, Any], Mapping[str, Any]] | None) -> list[str]:
    if measured is None:
        return [
            "## Scores",
            "",
            "None of this classifier: run `dvc repro` and export it again.",
            "",
        ]
    protocol, found = measured
    kind = "" if protocol["speaker_independent"] else "**not** "
    lines = [
        "## Scores",
        "",
        f"Of this method over folds {', '.join(map(str, protocol['folds']))}, split by "
        f"{protocol['by']}, {kind}speaker-independent: {found['utterances']} test utterances of "
        f"{found['speakers']} speakers, each tested by a model that did not train on its fold.",
        "",
        "| score | value |",
        "|---|---|",
        *(f"| {name} | {found[key]:.3f} |" for name, key in SCORES.items() if key in found),
    ]
    for name, key in {"UAR": "uar", "CCC": "ccc"}.items():
        if f"{key}_low" in found:
            low, high = found[f"{key}_low"], found[f"{key}_high"]
            lines.append(f"| {name}, 95 % by bootstrap over speakers | {low:.3f} to {high:.3f} |")
    return [*lines, ""]
