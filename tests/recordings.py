"""Recordings and corpora in miniature, synthesised for tests of everything before the encoder."""

import zlib
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio.formats import Samples
from pipeline.corpora.manifest import Clip


def tone(seconds: float, hz: float = 220.0, rate_hz: int = 16_000, level: float = 0.3) -> Samples:
    """A sine whose amplitude slowly wavers; different pitches are different audio."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = level * np.sin(2 * np.pi * hz * time_s) * (0.8 + 0.2 * np.sin(7 * time_s))
    return wave.astype(np.float32)


def record(path: Path, samples: Samples | None = None, rate_hz: int = 16_000, **how: str) -> Path:
    """Write a recording, by default half a second whose pitch follows from its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = tone(0.5, 100 + zlib.crc32(path.name.encode()) % 1_000_003 / 1_000, rate_hz)
    soundfile.write(path, samples, rate_hz, **how)
    return path


def labelled(folder: Path, rows: list[str], header: str = "path,emotion,speaker") -> None:
    """Write ``labels.csv`` and a recording for each row's path that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    for row in rows:
        path = folder / row.split(",")[0]
        if not path.exists():
            record(path)


def clip(name: str, **known: object) -> Clip:
    """A manifest row named ``<corpus>/<name>``; everything else follows unless given."""
    corpus = str(known.pop("corpus", "toy"))
    row: dict[str, object] = {
        "clip": f"{corpus}/{name}",
        "utterance": f"{corpus}/{name}",
        "corpus": corpus,
        "path": f"audio/{name}.flac",
        "source": f"{name}.wav",
        "speaker": f"{corpus}/s1",
        "gender": "female",
        "session": "1",
        "emotion": "happy",
        "intensity": "",
        "language": "none",
        "duration_s": 1.0,
        "start_s": 0.0,
        "augmented_from": "",
        "sha256": name,
    }
    return Clip(**(row | known))  # type: ignore[arg-type]
