"""Predictions of systems of known skill, in the folders where training leaves them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.corpora import manifest
from pipeline.corpora.manifest import CLIPS, EMOTIONS, Clip
from pipeline.demo.listeners import PERCEPTS
from pipeline.ground import files
from pipeline.splits import folds
from pipeline.splits.targets import Emotion
from pipeline.splits.valued import Shares
from tests import recordings

SHARES = tuple(PERCEPTS)
SHARE = Shares(target="shares", emotions=list(SHARES), loss="mse")
TASK = Emotion(target="emotion", classes=list(EMOTIONS), merge={})
LAYERS = ("-1", "last")


@dataclass(frozen=True)
class Study:
    """Utterances of some speakers, divided into folds by speaker."""

    corpora: tuple[str, ...] = ("demo",)
    speakers: int = 8
    utterances: int = 128  # of each corpus
    folds: int = 2

    def clips(self) -> list[Clip]:
        return [clip for corpus in self.corpora for clip in self._of(corpus)]

    def fold(self, clip: Clip) -> int:
        """In which fold the clip is tested."""
        return int(clip.speaker.split("/")[1]) * self.folds // self.speakers

    def _of(self, corpus: str) -> list[Clip]:
        found = []
        for i in range(self.utterances):
            speaker = i * self.speakers // self.utterances
            found.append(
                recordings.clip(
                    f"u{i:05d}",
                    corpus=corpus,
                    path=f"u{i:05d}.flac",
                    speaker=f"{corpus}/{speaker}",
                    gender=("female", "male")[speaker % 2],
                    session=str(speaker // 2),
                    emotion=EMOTIONS[i % len(EMOTIONS)],
                    duration_s=1.9,
                    sha256=f"{corpus}/u{i:05d}",
                )
            )
        return found


def plant(root: Path, study: Study) -> None:
    """Write manifests, audits and folds; dev is the next fold's speakers."""
    for corpus in study.corpora:
        folder = root / CLIPS / corpus
        folder.mkdir(parents=True)
        clips = [clip for clip in study.clips() if clip.corpus == corpus]
        manifest.write(folder / "manifest.csv", clips)
        audit = {
            "corpus": corpus,
            "found": len(clips),
            "kept": len(clips),
            "out_of_scope": {},
            "rejected": {},
            "clips": len(clips),
            "duration_s": 1.9 * len(clips),
            "counts": {"speaker": dict.fromkeys(sorted({c.speaker for c in clips}), 1)},
            "warnings": ["speaker 0: <few> utterances"],
        }
        (folder / "audit.json").write_text(json.dumps(audit))
    roles = [
        {c.clip: "test" if study.fold(c) == fold else "train" for c in study.clips()}
        for fold in range(study.folds)
    ]
    folds.write(root / folds.FOLDS, roles)


def plant_units(root: Path, folds: int = 2) -> None:
    """What `cluster` counted: purity rises with the scale, figures with the fold."""
    for fold in range(folds):
        lone_dev = {"gender": None, "inertia": None}
        report = {
            str(scale): {
                "duplicates": 0,
                "train": counted(scale, fold),
                "dev": counted(scale, fold) | lone_dev,
            }
            for scale in (16, 64)
        }
        path = root / "artifacts/units" / str(fold) / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(report))


def counted(scale: int, fold: int) -> dict[str, object]:
    """Of one scale and role; the speaker is always the same."""
    names = ("inertia", "utilisation", "entropy_bits", "smallest", "median", "largest")
    told = {"purity": (scale + fold) / 100, "chance": 0.25, "nmi": (scale + fold) / 1000}
    attributes = {"emotion": told, "gender": told, "speaker": None, "phone": None}
    sizes = np.linspace(1, 100, 21).tolist()
    return {"frames": 400, **dict.fromkeys(names, fold), "empty": 0, "sizes": sizes, **attributes}


def plant_probe(root: Path, study: Study, features: str) -> None:
    """Two layers, of which the upper is better; clips on a circle."""
    folder = root / "artifacts/probes/emotion" / features
    layers = [
        [n, d, fold, 0.5 + d / 4, 0.4 + d / 4] for fold in (0, 1) for d, n in enumerate(LAYERS)
    ]
    _write(folder / "layers.csv", ["layer", "depth", "fold", "dev_uar", "test_uar"], layers)
    at = [[clip.clip, np.cos(i), np.sin(i)] for i, clip in enumerate(study.clips())]
    _write(folder / "places.csv", ["clip", "x", "y"], at)


def plant_classifier(root: Path, study: Study, system: str, skill: float, seed: int = 0) -> None:
    """Predictions whose logits favour the truth by ``skill`` standard deviations, and a curve."""
    rng = np.random.default_rng(seed)
    for fold in range(study.folds):
        rows: list[Sequence[object]] = []
        for clip in study.clips():
            logits = rng.normal(0, 1, len(EMOTIONS))
            logits[EMOTIONS.index(clip.emotion)] += skill
            # Dev is perfect: scores that used it would show.
            role = "test" if study.fold(clip) == fold else "dev"
            logits[EMOTIONS.index(clip.emotion)] += 100 * (role == "dev")
            known = [clip.utterance, clip.corpus, clip.speaker, role, clip.emotion]
            rows.append([*known, *(f"{x:.6g}" for x in logits)])
        header = ["utterance", "corpus", "speaker", "role", "label", *EMOTIONS]
        folder = root / "artifacts/classifiers/emotion" / system / str(fold)
        _write(folder / "predictions.csv", header, rows)
        curve = [
            [e, f"{2 * 0.8**e:.4f}", f"{2 * 0.85**e:.4f}", f"{e / 9:.4f}"] for e in range(1, 6)
        ]
        columns = ["epoch", "train_loss", "dev_loss", "dev_uar"]
        _write(folder / "history.csv", columns, curve if "linear" not in system else [])


def plant_ratings(root: Path, study: Study, target: str, task: str) -> None:
    """Predictions of ``fbank/linear``: votes for the emotion and one more, or two dimensions."""
    rng, count = np.random.default_rng(3), len(EMOTIONS)
    for fold in range(study.folds):
        rows: list[Sequence[object]] = []
        for number, clip in enumerate(study.clips()):
            known = [clip.utterance, clip.corpus, clip.speaker]
            known.append("test" if study.fold(clip) == fold else "dev")
            label = EMOTIONS.index(clip.emotion)
            if target == "votes":
                shares = np.eye(count)[label] * 0.5 + np.eye(count)[(label + 1) % count] * 0.5
                shares = np.eye(count)[label] * 0.3 + shares * 0.7 if number % 4 else shares
                told = clip.emotion if number % 4 else ""
                logits = np.log(shares + 0.05) + rng.normal(0, 0.3, count)
                rows.append([*known, told, *shares, *logits])
            else:
                truth = rng.normal(4, 1, 2)
                guess = truth + rng.normal(0, [0.2, 1.5])
                rows.append([*known, truth[0], guess[0], truth[1], guess[1]])
        header = ["utterance", "corpus", "speaker", "role"]
        if target == "votes":
            header += ["label", *(f"true_{name}" for name in EMOTIONS), *EMOTIONS]
        else:
            names = ("arousal", "valence")
            header += [f"{kind}_{name}" for name in names for kind in ("true", "predicted")]
        folder = root / "artifacts/classifiers" / task / "fbank/linear" / str(fold)
        _write(folder / "predictions.csv", header, rows)
        _write(folder / "history.csv", ["epoch", "train_loss", "dev_loss", "dev_uar"], [])


def plant_share(root: Path, study: Study, system: str, masked: bool = False) -> None:
    """Shares that follow the truth for some emotions and are constant for the last."""
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 21, (len(study.clips()), len(SHARES))) / 20
    guess = truth + rng.normal(0, np.linspace(0.1, 1.5, len(SHARES)), truth.shape)
    guess[:, -1] = 0.5
    columns = [f"{kind}_{emotion}" for emotion in SHARES for kind in ("true", "predicted")]
    header = ["utterance", "corpus", "speaker", "role", *columns]
    for fold in range(study.folds):
        rows: list[Sequence[object]] = []
        for clip, t, g in zip(study.clips(), truth, guess, strict=True):
            role = "test" if study.fold(clip) == fold else "dev"
            shown = ["" if masked and role == "test" else f"{x:.9g}" for x in t]
            told = (f"{x:.9g}" for x in g)
            pairs = [value for pair in zip(shown, told, strict=True) for value in pair]
            rows.append([clip.utterance, clip.corpus, clip.speaker, role, *pairs])
        folder = root / "artifacts/classifiers/share" / system / str(fold)
        _write(folder / "predictions.csv", header, rows)
        curve: list[Sequence[object]] = [[1, 0.1, 0.2, 0.3, 0.4], [2, 0.05, 0.15, "", ""]]
        ends = [f"{r}_loss_{name}" for name in ("anger", "calmness") for r in ("train", "dev")]
        _write(folder / "history.csv", ["epoch", *ends], curve)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(path, header, rows)


def plant_crossed(
    root: Path, study: Study, system: str, skills: Mapping[tuple[str, str], float]
) -> None:
    """Predictions of pairs of corpora, by how much they favour the truth."""
    rng = np.random.default_rng(0)
    folder, pairs = root / "artifacts/cross" / system, []
    for (one, other), skill in skills.items():
        clips = [clip for clip in study.clips() if clip.corpus == other]
        labels = np.array([EMOTIONS.index(clip.emotion) for clip in clips])
        logits = (
            rng.normal(0, 1, (len(clips), len(EMOTIONS))) + skill * np.eye(len(EMOTIONS))[labels]
        )
        rows = [
            [clip.utterance, other, clip.speaker, "test", clip.emotion, *(f"{x:.6g}" for x in row)]
            for clip, row in zip(clips, logits, strict=True)
        ]
        header = ["utterance", "corpus", "speaker", "role", "label", *EMOTIONS]
        _write(folder / one / other / "0" / "predictions.csv", header, rows)
        pairs.append({"train": one, "test": other, "classes": list(EMOTIONS), "folds": 1})
    (folder / "pairs.json").write_text(json.dumps(pairs))
