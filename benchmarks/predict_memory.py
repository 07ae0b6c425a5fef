"""What memory `ser predict` takes of recordings of minutes and of hours.

    python -m benchmarks.predict_memory MODEL SPEECH
    python -m benchmarks.predict_memory MODEL SPEECH --backend onnx --lengths

MODEL is what `ser export` wrote, SPEECH a recording of a minute or so, said again and again until
the hours are full. Each run is a process of its own; its peak is what the system counted, ffmpeg's
among it. ``--lengths`` judges turns of which no two have one length, with oneDNN's own bound on the
plans that it keeps and with ours.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

CODECS = {"m4a": ("aac", "-b:a", "64k"), "opus": ("libopus", "-b:a", "24k")}
BLOCK_S = 600
MINUTES = [10, 60, 120]
SUFFIXES = ["wav", "flac", *CODECS]
PLANS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def main(
    model: Annotated[Path, typer.Argument(help="An exported model.")],
    speech: Annotated[Path, typer.Argument(help="A recording that libsndfile reads.")],
    minutes: Annotated[list[int], typer.Option(help="Lengths.")] = MINUTES,
    suffix: Annotated[list[str], typer.Option(help="Formats.")] = SUFFIXES,
    backend: Annotated[str, typer.Option(help="torch, onnx or onnx-int8.")] = "torch",
    *,
    lengths: Annotated[bool, typer.Option(help="Turns of many lengths alone.")] = False,
) -> None:
    """Print the peak of each run in MiB, and how long it took."""
    with tempfile.TemporaryDirectory() as scratch:
        for length in [60] if lengths else minutes:
            place = Path(scratch, str(length))
            place.mkdir()
            wave = tile(speech, place / "a.wav", length)
            turns = listed(place / "a.rttm", length * 60)
            words = ["--model", str(model), "--backend", backend, "--format", "csv"]
            if lengths:
                for plans in ("1024", ""):
                    told = f"{len(turns.read_text().splitlines())} lengths, {plans or 'our'} plans"
                    run(told, wave, [*words, "--segments", str(turns)], plans)
                continue
            for name in suffix:
                file = converted(wave, name)
                cut = ["--segments", "fixed", "--segment-s", "4"]
                run(f"{length} min {name} fixed", file, [*words, *cut])
            for segments in ("vad", str(turns)):
                told = f"{length} min wav {'vad' if segments == 'vad' else 'FILE'}"
                run(told, wave, [*words, "--segments", segments])


def run(told: str, file: Path, words: list[str], plans: str = "") -> None:
    """One `ser predict`, and a line about it."""
    environment = {name: value for name, value in os.environ.items() if name != PLANS}
    environment |= {PLANS: plans} if plans else {}
    command = [sys.executable, "-m", "ser_pipeline", "predict", str(file), *words]
    start = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        rows = sum(1 for _ in process.stdout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, told
    took_s = time.perf_counter() - start
    print(
        f"{told:32} {usage.ru_maxrss / 1024:7.0f} MiB  {rows - 1:6} rows  {took_s:6.1f} s",
        flush=True,
    )


def tile(speech: Path, target: Path, minutes: int) -> Path:
    """A WAV file of so many minutes, of the speech again and again, never twice as loud."""
    samples, rate_hz = soundfile.read(speech, dtype="float32", always_2d=True)
    rng, left = np.random.default_rng(0), minutes * 60 * rate_hz
    with soundfile.SoundFile(target, "w", rate_hz, samples.shape[1]) as file:
        while left:
            block = samples[:left]
            file.write(rng.uniform(0.3, 0.9) * block)
            left -= len(block)
    return target


def listed(target: Path, seconds: int) -> Path:
    """Turns of 1 to 8 s by two speakers, no two of one length, as RTTM."""
    rng, at, lines = np.random.default_rng(0), 0.0, []
    lengths = rng.permutation(np.arange(1000, 8000))
    for number, length_ms in enumerate(lengths):
        if at + length_ms / 1000 > seconds:
            break
        where = f"{at:.3f} {length_ms / 1000:.3f}"
        lines.append(f"SPEAKER a 1 {where} <NA> <NA> s{number % 2} <NA> <NA>\n")
        at = round(at + length_ms / 1000, 3)
    target.write_text("".join(lines))
    return target


def converted(wave: Path, suffix: str) -> Path:
    """The same in another format."""
    target = wave.with_suffix(f".{suffix}")
    if suffix in CODECS:
        codec = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(wave), "-c:a"]
        subprocess.run([*codec, *CODECS[suffix], str(target)], check=True)
    elif suffix != "wav":
        with soundfile.SoundFile(wave) as source:
            style = source.samplerate, source.channels
            with soundfile.SoundFile(target, "w", *style) as file:
                for block in source.blocks(BLOCK_S * source.samplerate, dtype="float32"):
                    file.write(block)
    return target


if __name__ == "__main__":
    typer.run(main)
