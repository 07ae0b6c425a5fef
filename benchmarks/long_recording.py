"""How fast the many utterances of one long recording become clips, against a plain librosa loop.

    python -m benchmarks.long_recording --rows 10000

A synthetic hour with rows of two seconds, as the labels of a call or a podcast have them. librosa
opens the file, seeks and reads each part, and writes the same FLAC by the same function; ours also
parses the labels, checks, hashes, audits and keeps what a later run can take over. Rounds alternate
and the fastest of each counts.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from benchmarks.preprocess import clocks_s, ours_of, report
from pipeline.audio.flac import write_flac
from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.ground.stage import set_threads

LENGTH_S = 2.0


def main(
    rows: Annotated[int, typer.Option(help="Utterances in the recording.")] = 10_000,
    minutes: Annotated[int, typer.Option(help="Its length.")] = 60,
    suffix: Annotated[str, typer.Option(help="Its format: wav, flac, ogg, mp3.")] = "wav",
    workers: Annotated[int, typer.Option(help="Processes of ours.")] = 0,
    rounds: Annotated[int, typer.Option(help="Of each.")] = 2,
) -> None:
    """Print utterances per second, ours and librosa's."""
    set_threads(1)
    import librosa

    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch, "raw")
        starts_s = _write(corpus, rows, minutes, suffix)
        librosa.load(corpus / f"long.{suffix}", sr=SAMPLE_RATE_HZ, duration=0.1)  # lazy imports
        paired = []
        for n in map(str, range(rounds)):
            target = Path(scratch, "theirs", n)
            target.mkdir(parents=True)
            start = clocks_s()
            for number, start_s in enumerate(starts_s):
                samples, _ = librosa.load(
                    corpus / f"long.{suffix}", sr=SAMPLE_RATE_HZ, offset=start_s, duration=LENGTH_S
                )
                write_flac(target / f"{number}.flac", samples)
            between = clocks_s()
            ours_of(corpus, "table", Path(scratch, "ours", n), workers)
            paired.append((between - start, clocks_s() - between))
    report(f"{rows} rows of {minutes} minutes of {suffix}", rows, paired)


def _write(corpus: Path, rows: int, minutes: int, suffix: str) -> list[float]:
    """A recording of noise that is never twice the same, and labels; the starts of its parts."""
    corpus.mkdir()
    noise = np.random.default_rng(0)
    with soundfile.SoundFile(corpus / f"long.{suffix}", "w", SAMPLE_RATE_HZ, 1) as file:
        for _ in range(minutes * 60):
            file.write(0.1 * noise.standard_normal(SAMPLE_RATE_HZ))
    starts_s = [round(n * (minutes * 60 - LENGTH_S) / rows, 3) for n in range(rows)]
    lines = [f"long.{suffix},sad,s{n % 7},{s},{s + LENGTH_S:.3f}" for n, s in enumerate(starts_s)]
    (corpus / "labels.csv").write_text("\n".join(["path,emotion,speaker,start,end", *lines]) + "\n")
    return starts_s


if __name__ == "__main__":
    typer.run(main)
