"""How fast a corpus becomes clips, against a plain loop around librosa that writes the same files.

    python -m benchmarks.preprocess data/raw/ravdess --workers 2

Both decode every recording under the folder, mix it down, resample it and write 16 kHz FLAC by the
same function; ours also parses, checks, hashes, audits and keeps what a later run can take over.
Rounds alternate and the fastest of each counts. Processor time tells more than files per second
where the machine is busy: ours, divided by the workers, is what a quiet one would take. The samples
are compared, too.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from pipeline.audio import augmentation
from pipeline.audio.flac import read_clip, write_flac
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.corpora import audit, manifest, registry
from pipeline.corpora.preparing.clips import clips_of
from pipeline.corpora.preparing.utterance import Settings
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.ground.stage import set_threads

Clocks = npt.NDArray[np.float64]

SETTINGS = Settings(
    max_clip_s=60.0, last_clip="shorter", max_utterance_s=600.0, trim_db=None, augment=(), seed=0
)


def main(
    corpus: Annotated[Path, typer.Argument(help="A folder of recordings.")],
    parser: Annotated[str, typer.Option(help="Its layout.")] = "ravdess",
    workers: Annotated[int, typer.Option(help="Processes of ours.")] = 2,
    rounds: Annotated[int, typer.Option(help="Of each.")] = 5,
) -> None:
    """Print files per second of preprocessing and of augmentation, ours and librosa's."""
    set_threads(1)
    import librosa
    from librosa.effects import pitch_shift, time_stretch

    files = [row.source for row in registry.parse(parser, corpus).rows]
    librosa.load(corpus / files[0], sr=SAMPLE_RATE_HZ, duration=0.1)  # its lazy imports
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = Path(scratch, "ours"), Path(scratch, "theirs")
        paired = []
        for n in map(str, range(rounds)):
            start = clocks_s()
            _librosa_loop(corpus, files, theirs / n)
            between = clocks_s()
            ours_of(corpus, parser, ours / n, workers)
            paired.append((between - start, clocks_s() - between))
        report("decode, resample, write", len(files), paired)
        clips = sorted((ours / "0/clips/audio").iterdir())
        same = sum(
            np.array_equal(*_common(read_clip(clip), read_clip(theirs / "0" / clip.name)))
            for clip in clips
        )
        print(f"{same} of {len(clips)} files have librosa's soxr_hq samples")
        voices = [read_clip(clip) for clip in clips[:24]]
    for name, mine, peer in (
        ("time stretch", lambda v: augmentation.time_stretch(v, 0.9),
         lambda v: time_stretch(v, rate=0.9)),
        ("pitch shift", lambda v: augmentation.pitch_shift(v, 2.0),
         lambda v: pitch_shift(v, sr=SAMPLE_RATE_HZ, n_steps=2.0)),
    ):  # fmt: skip
        paired = [(_each(peer, voices), _each(mine, voices)) for _ in range(rounds)]
        report(name, len(voices), paired)


def _librosa_loop(corpus: Path, files: list[str], target: Path) -> None:
    import librosa

    target.mkdir(parents=True)
    for file in files:
        samples, _ = librosa.load(corpus / file, sr=SAMPLE_RATE_HZ)
        write_flac(target / f"{Path(file).stem}.flac", samples)


def ours_of(corpus: Path, parser: str, target: Path, workers: int) -> None:
    """Parse, prepare and audit a corpus as the stage does."""
    places = Places(corpus, target / "clips", target / "scratch")
    places.scratch.mkdir(parents=True)
    parsed = registry.parse(parser, corpus)
    made = list(prepare_all(parsed.rows, SETTINGS, places, workers))
    outcome = audit.settle(parsed, made)
    audit.report("corpus", registry.corpus_of(parser), outcome)
    clips = [clip for p in outcome.kept for clip in clips_of(p, "corpus", "en")]
    manifest.write(target / "manifest.csv", clips)


def _common(one: Samples, other: Samples) -> tuple[Samples, Samples]:
    length = min(len(one), len(other))
    return one[:length], other[:length]


def _each(change: Callable[[Samples], Samples], voices: list[Samples]) -> Clocks:
    start = clocks_s()
    for voice in voices:
        change(voice)
    return clocks_s() - start


def clocks_s() -> Clocks:
    """Seconds on the wall, and of processor time of this process and its ended children."""
    return np.array([time.perf_counter(), sum(os.times()[:4])])


def report(what: str, count: int, paired: list[tuple[Clocks, Clocks]]) -> None:
    """Print the fastest rounds of both."""
    (their_s, their_cpu_s), (our_s, our_cpu_s) = np.min(paired, axis=0)
    print(
        f"{what}: librosa {count / their_s:.0f} files/s, ours {count / our_s:.0f} files/s, "
        f"{their_s / our_s:.2f} times; processor {1e3 * their_cpu_s / count:.2f} and "
        f"{1e3 * our_cpu_s / count:.2f} ms a file"
    )


if __name__ == "__main__":
    typer.run(main)
