"""A small corpus as a user brings it, through every stage up to its classifiers."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from pipeline.cli.preset import merged
from pipeline.ground import params
from stages import crnn, encoder, extract, finetune, finetune_cached, preprocess, split
from tests.speech import small_encoder

OVERLAY = """
corpora: [toy]
pretrained: tiny
task: {emotion: {classes: [angry, sad, happy], merge: {}}}
tasks: {cached: [emotion]}
networks: {features: []}
preprocess: {max_clip_s: 0.5, trim_db: 40.0}
split: {by: speaker, count: 3}
finetune: {model: {layer: last}, training: {epochs: 1}}
crnn: {training: {epochs: 1}}
"""
TRAINED = [
    ("pretrained", "full"),
    ("pretrained", "lora-qkv"),
    ("tiny", "frozen"),
    ("fbank", "lora-classifier"),
    ("fbank", "linear"),
    ("fbank", "crnn"),
]


def record(folder: Path) -> None:
    """Tones of three pitches by six speakers: stereo, at 44.1 kHz, of one to three clips."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = ["path,emotion,speaker,gender"]
    for number in range(36):
        speaker, label = number % 6, number // 6 % 3
        time_s = np.arange(int(44100 * rng.uniform(0.3, 1.4))) / 44100
        wave = 0.2 * np.sin(2 * np.pi * 250 * 3**label * time_s)[:, None]
        wave = wave + 0.01 * rng.standard_normal((len(wave), 2))
        name = f"{number:02d}.wav"
        soundfile.write(folder / name, wave, 44100)
        emotion, gender = ("angry", "sad", "happy")[label], ("female", "male")[speaker % 2]
        rows.append(f"{name},{emotion},s{speaker},{gender}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", "utf-8")


def run_stages(overlay: str = "{}", **style: Any) -> None:
    """Everything from the recordings to a classifier of each method, fold 0."""
    text = Path("params.yaml").read_text("utf-8")
    text = text.replace("\ncorpus:\n", "\ncorpus:\n  toy: {parser: table, language: en}\n", 1)
    Path("params.yaml").write_text(merged(merged(text, OVERLAY), overlay), "utf-8")
    params.read.cache_clear()
    record(Path("data/raw/toy"))
    preprocess.main("toy")
    split.main()
    small_encoder(Path("artifacts/encoders/tiny"), **style)
    encoder.main("fbank")
    for name in ("tiny", "fbank"):
        extract.main(name, "toy")
    for start, method in TRAINED:
        if method == "crnn":
            crnn.main("emotion", start, 0)
            continue
        run = finetune.main if start == "pretrained" else finetune_cached.main
        run("emotion", start, method, 0)  # type: ignore[arg-type]
