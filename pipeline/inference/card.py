"""The model card of an exported classifier: what it learnt from, how it scored, and its limits.

Made of what the run left: the design, the manifests, the folds and ``results/scores.json``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.corpora.manifest import Clip
from pipeline.methods.emotion_head import Design

# Notes, not advice: read the licence that came with your copy (docs/corpora.md has the sources).
LICENCES = {
    "demo": "synthetic, made by this project",
    "emodb": "CC0 1.0",
    "ravdess": "CC BY-NC-SA 4.0: not for commercial use",
    "crema-d": "ODbL 1.0, contents DbCL 1.0",
    "tess": "Creative Commons, not for commercial use; the variant was not checked",
    "savee": "for research, after registration; the wording was not checked",
    "iemocap": "by request to its authors",
    "emotion-share": "that of the ComParE 2023 challenge; not checked",
    "table": "yours",
}
SCORES = {
    "UAR": "uar",
    "accuracy": "war",
    "F1 macro": "f1_macro",
    "F1 weighted": "f1_weighted",
    "EER": "eer",
}


def text(
    design: Design,
    fold: str,
    clips: Sequence[Clip],
    roles: Mapping[str, str],
    parsers: Mapping[str, str],
    measured: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> str:
    """The card as Markdown with the hub's YAML header.

    Args:
        design: Of the classifier.
        fold: Its name, such as ``pretrained/full/0``.
        clips: Of the active corpora.
        roles: Of the clips in the classifier's fold.
        parsers: The parser of each corpus.
        measured: The protocol and the scores of the classifier's method; None before `evaluate`.
    """
    languages = sorted({clip.language for clip in clips if len(clip.language) == 2})
    header = [
        "---",
        "library_name: transformers",
        "pipeline_tag: audio-classification",
        "tags: [speech-emotion-recognition]",
        *([f"language: [{', '.join(languages)}]"] if languages else []),
        "license: other",
        "---",
    ]
    lines = [
        *header,
        f"# Speech emotions: {', '.join(design.classes)}",
        "",
        f"Method `{design.method}` on the encoder `{design.encoder}` "
        f"(sha256 `{design.encoder_sha256}`), classifier `{fold}`.",
        "",
        *_loading(design),
        *_data(clips, roles, parsers),
        *_scores(measured),
        "## Limits",
        "",
        "Acted and posed speech says little about felt emotions, and nothing about what a person "
        "is like. Do not decide about people with it.",
    ]
    return "\n".join(lines) + "\n"


def _loading(design: Design) -> list[str]:
    if design.is_transformers:
        code = "from transformers import AutoModelForAudioClassification\n\n"
        code += 'model = AutoModelForAudioClassification.from_pretrained("FOLDER")'
        note = "Adapters are merged. Audio is mono at 16 kHz."
    else:
        code = "from transformers import AutoModel\n\n"
        code += 'encoder = AutoModel.from_pretrained("FOLDER")'
        note = (
            "Its head is none of transformers': `pipeline.methods.classifier.load` reads the "
            "whole, the lines above the encoder alone."
        )
    return ["## How to load it", "", "```python", code, "```", "", note, ""]


def _data(clips: Sequence[Clip], roles: Mapping[str, str], parsers: Mapping[str, str]) -> list[str]:
    lines = [
        "## Data",
        "",
        "| corpus | licence | role | utterances | speakers |",
        "|---|---|---|---|---|",
    ]
    for corpus, parser in parsers.items():
        for role in ("train", "dev", "test"):
            own = [c for c in clips if c.corpus == corpus and roles.get(c.clip) == role]
            speakers = sorted({c.speaker.removeprefix(f"{corpus}/") or "unknown" for c in own})
            if own:
                count = len({c.utterance for c in own})
                licence = LICENCES.get(parser, "unknown")
                named = ", ".join(speakers)
                lines.append(f"| {corpus} | {licence} | {role} | {count} | {named} |")
    emotions = Counter(
        {c.utterance: c.emotion for c in clips if roles.get(c.clip) == "train"}.values()
    )
    told = ", ".join(f"{name} {count}" for name, count in sorted(emotions.items()))
    return [*lines, "", f"Training utterances by emotion: {told}.", ""]


def _scores(measured: tuple[Mapping[str, Any], Mapping[str, Any]] | None) -> list[str]:
    if measured is None:
        return ["## Scores", "", "None yet: run `dvc repro evaluate` and export it again.", ""]
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
    if "uar_low" in found:
        low, high = found["uar_low"], found["uar_high"]
        lines.append(f"| UAR, 95 % by bootstrap over speakers | {low:.3f} to {high:.3f} |")
    return [*lines, ""]
