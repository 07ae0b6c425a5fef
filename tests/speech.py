"""Small synthetic clips and encoders for tests of training and classification."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio.flac import write_flac
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.encoders import encoder as encoders
from pipeline.ground import params
from pipeline.splits import folds
from pipeline.splits.task import Example
from stages import encoder, extract
from tests.recordings import clip

SMALL = {
    "model_type": "hubert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "hidden_dropout": 0.1,
    "feat_extract_norm": "group",
}
WHISPER = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "encoder_layers": 2,
    "num_mel_bins": 20,
}


def small_encoder(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Save a small untrained encoder; the folder is returned."""
    folder.mkdir(parents=True)
    encoders.save(encoders.initialize({**SMALL, **changes}, seed), folder)
    return folder


def small_whisper(folder: Path) -> Path:
    """Save a small untrained encoder of Whisper; the folder is returned."""
    folder.mkdir(parents=True)
    encoders.save(encoders.initialize(WHISPER, seed=0), folder)
    return folder


def tone_clips(count: int, classes: int = 2, corpus: str = "tones", seed: int = 0) -> list[Example]:
    """Clips of noisy tones, one pitch a class, under artifacts/clips of the working directory."""
    rng = np.random.default_rng(seed)
    folder = Path("artifacts/clips") / corpus
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        label = number % classes
        samples = int(rng.integers(3000, 9000))
        time_s = np.arange(samples) / 16000
        pitch_hz = 200 * 3**label * rng.uniform(0.95, 1.05)
        wave = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) + 0.01 * rng.standard_normal(samples)
        name = f"{number:03d}"
        sha256 = write_flac(folder / f"{name}.flac", wave.astype(np.float32))
        one = clip(
            name,
            corpus=corpus,
            path=f"{name}.flac",
            speaker=f"{corpus}/s{number % 5}",
            gender=("female", "male", "unknown")[number % 3],
            session="",
            emotion=("angry", "sad", "happy")[label],
            duration_s=samples / 16000,
            sha256=sha256,
        )
        role = ("train", "train", "train", "dev", "test")[number // classes % 5]
        gender = number % 3 if number % 3 < 2 else None
        found.append(Example(one, role, label, gender))
    return found


def extracted_tones(overlay: str, count: int) -> list[Example]:
    """`tone_clips` of a project of these settings, with filterbanks and one fold of its own."""
    text = merged(Path("params.yaml").read_text("utf-8"), overlay)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    made = tone_clips(count)
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in made])
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in made}])
    encoder.main("fbank")
    extract.main("fbank", "tones")
    return made
