"""How fast an encoder of published size embeds real speech, against the usual ways of doing it.

    python -m benchmarks.extract data/raw/ravdess data/raw/emodb --seconds 120

Weights are random, which costs the same. Variants alternate, each on one thread, and count in CPU
time; the median of the rounds stands. A GPU is measured by `benchmarks.gpu`. It needs neither DVC
nor librosa.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from pipeline.ground.code import ROOT
from pipeline.ground.stage import set_threads

set_threads(1)

import torch  # noqa: E402

from benchmarks.device import peak_mib  # noqa: E402
from benchmarks.speech import as_long_as_iemocap, clip_of, length_s, recordings  # noqa: E402
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples  # noqa: E402
from pipeline.corpora.manifest import Clip  # noqa: E402
from pipeline.embeddings.embedder import Embedder  # noqa: E402
from pipeline.embeddings.extraction import Job, Kept  # noqa: E402
from pipeline.embeddings.reader import Header, Precision  # noqa: E402
from pipeline.encoders import encoder, layout  # noqa: E402
from pipeline.work import pool  # noqa: E402

BASE: dict[str, Any] = {"model_type": "hubert"}
LARGE: dict[str, Any] = {
    "model_type": "hubert",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}
TINY = {**BASE, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 64}
TINY |= {"num_hidden_layers": 2, "conv_dim": [32] * 7}
LAYER = -3

Lengths = Literal["own", "iemocap"]


def main(
    corpora: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    seconds: Annotated[float, typer.Option(help="Of audio, for each CPU variant.")] = 120.0,
    lengths: Annotated[Lengths, typer.Option(help="Clips as recorded, or as of IEMOCAP.")] = "own",
    rounds: Annotated[int, typer.Option(help="Of each CPU variant.")] = 3,
) -> None:
    """Print rates and ratios of extraction."""
    waves = recordings(corpora, seconds)
    if lengths == "iemocap":
        waves = as_long_as_iemocap(waves)
    print(f"{len(waves)} clips, {length_s(waves):.0f} s, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, settings in (("base", BASE), ("large", LARGE), ("tiny", TINY)):
            (folder / size).mkdir()
            encoder.save(encoder.initialize(settings, 0), folder / size)
        _variants(folder / "base", waves, rounds)
        _cores(folder / "base", waves, rounds)
        _memory(folder, waves)


def _variants(folder: Path, waves: Sequence[Samples], rounds: int) -> None:
    """Ours against the dump script and the padded batch, in seconds of audio per CPU second."""
    theirs = encoder.load(folder)
    exact, half = (Embedder(folder, header(p), "cpu", 60.0) for p in ("fp32", "bf16"))
    found: dict[str, list[np.ndarray[Any, Any]]] = {}

    def ours(embed: Embedder) -> list[np.ndarray[Any, Any]]:
        return [embed([wave])[0].frames[LAYER] for wave in waves]

    variants: dict[str, Callable[[], list[np.ndarray[Any, Any]]]] = {
        "one clip at a time, all layers": lambda: dump(theirs, waves),
        "padded batches of 16, all layers": lambda: padded(theirs, waves),
        "ours, fp32": lambda: ours(exact),
        "ours, bf16": lambda: ours(half),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            start = time.process_time()
            found[name] = variant()
            times[name].append(time.process_time() - start)
    rates = {name: length_s(waves) / statistics.median(taken) for name, taken in times.items()}
    own = rates["ours, fp32"]
    for name, rate in rates.items():
        off = error(found[name], found["one clip at a time, all layers"])
        print(f"{name:34} {rate:6.1f} s/cpu-s, ours is {own / rate:.2f} times, error {off:.1e}")


def dump(model: Any, waves: Sequence[Samples]) -> list[np.ndarray[Any, Any]]:
    """Clip by clip through transformers, as the usual script does it."""
    index = len(model.encoder.layers) + 1 + LAYER
    with torch.inference_mode():
        return [
            model(
                torch.from_numpy(wave)[None].to(model.device, model.dtype),
                output_hidden_states=True,
            )
            .hidden_states[index][0]
            .double()
            .cpu()
            .numpy()
            for wave in waves
        ]


def _row(model: Any, wave: Samples) -> torch.Tensor:
    return torch.from_numpy(wave)[None].to(model.device, model.dtype)


def padded(model: Any, waves: Sequence[Samples]) -> list[np.ndarray[Any, Any]]:
    """In padded batches of 16."""
    index = len(model.encoder.layers) + 1 + LAYER
    found = []
    for start in range(0, len(waves), 16):
        batch = [torch.from_numpy(wave) for wave in waves[start : start + 16]]
        together = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
        valid = torch.nn.utils.rnn.pad_sequence([torch.ones_like(w) for w in batch], True).long()
        with torch.inference_mode():
            output = model(
                together.to(model.device, model.dtype),
                attention_mask=valid.to(model.device),
                output_hidden_states=True,
            )
        states = output.hidden_states[index].float().cpu().numpy()
        for row, wave in zip(states, batch, strict=True):
            found.append(row[: layout.frame_count(len(wave))])
    return found


def _cores(folder: Path, waves: Sequence[Samples], rounds: int) -> None:
    """One process against two, in seconds of audio per second."""
    embed = Embedder(folder, header("fp32"), "cpu", 60.0)
    shards = [waves[n::8] for n in range(8)]
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, times in taken.items():
            start = time.perf_counter()
            for _done in pool.forked(lambda shard: len(embed(shard)), shards, workers):
                pass
            times.append(time.perf_counter() - start)
    one, two = (length_s(waves) / min(taken[workers]) for workers in (1, 2))
    print(f"processes: 1 {one:.1f} s/s, 2 {two:.1f} s/s, {two / one:.2f} times")


def _memory(folder: Path, waves: Sequence[Samples]) -> None:
    """Peak memory of a whole run over the clips once and four times; read in a fresh process."""
    peaks = []
    for times in (1, 4):
        many = cycled(waves, times * length_s(waves))
        with get_context("spawn").Pool(1) as fresh:
            peaks.append(fresh.apply(_peak_mib, (folder / "tiny", many)))
    print(f"peak memory: {peaks[0]:.0f} MiB for the clips, {peaks[1]:.0f} MiB for four times them")


def _peak_mib(folder: Path, waves: Sequence[Samples]) -> float:
    with project(waves) as clips:
        run(folder, clips, -1)
    return peak_mib(torch.device("cpu"))


@contextmanager
def project(waves: Sequence[Samples]) -> Iterator[list[Clip]]:
    """The waves as clips of a project of its own, which is the working directory meanwhile."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["SER_SCRATCH"] = f"{folder}/scratch"
        text = (ROOT / "params.yaml").read_text("utf-8").replace("workers: 2", "workers: 0")
        Path("params.yaml").write_text(text, "utf-8")
        yield [clip_of(n, wave) for n, wave in enumerate(waves)]


def run(
    folder: Path, clips: Sequence[Clip], layer: int = LAYER, precision: Precision = "fp32"
) -> None:
    """A whole run in a `project`, from FLAC to HDF5."""
    kept = Kept([layer], [], precision, "float16")
    Job.prepare(folder, "benchmark", kept).run(Path("out.h5"), clips)


def cycled(waves: Sequence[Samples], length_s: float) -> list[Samples]:
    """The clips over and over, each time a little softer, so that none is the same audio twice."""
    found: list[Samples] = []
    done_s = 0.0
    while done_s < length_s:
        turn, place = divmod(len(found), len(waves))
        found.append(waves[place] * np.float32(0.99**turn))
        done_s += len(waves[place]) / SAMPLE_RATE_HZ
    return found


def error(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """Relative, over all frames."""
    pairs = list(zip(found, expected, strict=True))
    difference = sum(float(((one - other) ** 2).sum()) for one, other in pairs)
    return float(np.sqrt(difference / sum(float((other**2).sum()) for _, other in pairs)))


def header(precision: str, blocks: int = 12, width: int = 768) -> Header:
    """Of embeddings of one layer."""
    return Header(
        encoder="benchmark", revision="", weights_sha256="", blocks=blocks, width=width,
        hop_samples=layout.HOP_SAMPLES, frames=(LAYER,), means=(), precision=precision,
        dtype="float16", numerics_version=1,
    )  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
