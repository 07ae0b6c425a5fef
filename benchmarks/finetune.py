"""The methods of fine-tuning on one encoder, side by side: seconds of audio per second, and memory.

    python -m benchmarks.finetune data/raw/ravdess --seconds 60
    python -m benchmarks.finetune RAVDESS --shape large --precision bf16 --device cuda

Real clips, random weights, which cost the same. `full` (front end and all) and `lora-qkv` run the
encoder forwards and backwards; `frozen` with the encoder in the loop is the usual way to train a
head, and the rival of `frozen` and `lora-classifier` from cached means. Each method is a process of
its own, its passes over the clips are whole epochs, and their median stands; the pass that fills
caches is left out. A CPU counts in CPU time, on one thread, and in the memory of the process; a GPU
in seconds, and in what torch held at its peak.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

from pipeline.ground.stage import set_threads

set_threads(1)

import torch  # noqa: E402

from benchmarks.device import peak_mib, reset_peak  # noqa: E402
from benchmarks.speech import blank, length_s, recordings  # noqa: E402
from pipeline.audio.flac import write_flac  # noqa: E402
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples  # noqa: E402
from pipeline.cli.parameters import SHAPES  # noqa: E402
from pipeline.corpora.manifest import CLIPS  # noqa: E402
from pipeline.encoders import encoder  # noqa: E402
from pipeline.methods import classifier, emotion_head  # noqa: E402
from pipeline.methods.cached_head import Batch, CachedHead  # noqa: E402
from pipeline.methods.emotion_head import Design  # noqa: E402
from pipeline.methods.finetuning import LoraParams, LossParams, ModelParams  # noqa: E402
from pipeline.splits.task import Example  # noqa: E402
from pipeline.training import dropout  # noqa: E402
from pipeline.training.fit import Fit  # noqa: E402
from pipeline.training.settings import Training  # noqa: E402
from pipeline.training.waves import Waves  # noqa: E402
from pipeline.work.device import autocast, select  # noqa: E402

CLASSES = 8
BATCH = 16
LIVE = ("full", "lora-qkv", "frozen")
CACHED = ("frozen", "lora-classifier")
ADAPTERS = {"lora-qkv": LoraParams(rank=8, alpha=16.0, dropout=0.0)}
ADAPTERS["lora-classifier"] = LoraParams(rank=4, alpha=8.0, dropout=0.0)

Method = Literal["full", "lora-qkv", "frozen", "lora-classifier"]


@dataclass(frozen=True)
class Setting:
    """What all methods share."""

    shape: str
    precision: Literal["fp32", "bf16"]
    device: str
    rounds: int


def main(
    corpora: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    seconds: Annotated[float, typer.Option(help="Of audio in an epoch.")] = 60.0,
    shape: Annotated[Literal["base", "large"], typer.Option(help="Of HuBERT.")] = "base",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option()] = "fp32",
    device: Annotated[str, typer.Option(help="As runtime.device.")] = "cpu",
    rounds: Annotated[int, typer.Option(help="Epochs that are timed.")] = 3,
) -> None:
    """Print each method's rate and peak memory, and what caching saves."""
    waves = recordings(corpora, seconds)
    setting = Setting(f"hubert-{shape}", precision, device, rounds)
    print(f"hubert-{shape} {precision} on {device}: {len(waves)} clips, {length_s(waves):.0f} s")
    epochs: dict[str, float] = {}
    for name, method, cached in (
        *((name, name, False) for name in LIVE),
        *((f"{name}, cached", name, True) for name in CACHED),
    ):
        with get_context("spawn").Pool(1) as fresh:
            epoch_s, peak = fresh.apply(measure, (waves, method, cached, setting))
        epochs[name] = epoch_s
        rate = length_s(waves) / epoch_s
        print(f"{name:24} {rate:12.1f} s of audio/s  {epoch_s:9.4f} s an epoch  {peak:7.0f} MiB")
    print(f"lora-qkv against full: {epochs['full'] / epochs['lora-qkv']:.2f} times as fast")
    for name in CACHED:
        times = epochs["frozen"] / epochs[f"{name}, cached"]
        print(f"{name}, cached, against frozen with the encoder in the loop: {times:.0f} times")


def measure(
    waves: Sequence[Samples],
    method: Method,
    cached: bool,
    setting: Setting,
) -> tuple[float, float]:
    """Seconds of an epoch, and the peak of memory in MiB."""
    settings = Training(
        epochs=1,
        batch=BATCH,
        learning_rate=1e-5,
        patience=0,
        freeze_conv=method != "full",
        precision=setting.precision,
    )
    where = select(setting.device)
    clock = time.perf_counter if where.type == "cuda" else time.process_time
    design = _design(method, setting.shape)
    if cached:
        model, batches = _cached(design, len(waves), where)
    else:
        model, batches = _live(design, setting.shape, waves, settings, where)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-5)

    def epoch() -> None:
        for batch in batches():
            with autocast(where, setting.precision):
                loss, items = model.loss(batch)
            (loss / items).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if where.type == "cuda":
            torch.cuda.synchronize()

    reset_peak(where)
    model.train()
    epoch()
    times = []
    for _ in range(setting.rounds):
        start = clock()
        epoch()
        times.append(clock() - start)
    return statistics.median(times), peak_mib(where)


def _design(method: Method, shape: str) -> Design:
    width, blocks = (1024, 24) if shape == "hubert-large" else (768, 12)
    return Design(
        method=method,
        target="emotion",
        classes=[f"class {label}" for label in range(CLASSES)],
        encoder="",
        encoder_sha256="",
        width=width,
        blocks=blocks,
        model=ModelParams(
            head="pool", layer="last", projection=256, lstm_width=1, batch_norm=False, dropout=0.0
        ),
        loss=LossParams(name="ce", scale=1.0, margin=0.0),
        lora=ADAPTERS.get(method),
    )


def _live(
    design: Design, shape: str, waves: Sequence[Samples], settings: Training, where: torch.device
) -> tuple[Any, Callable[[], Any]]:
    body = encoder.initialize(SHAPES[shape], seed=0)
    body.do_normalize = shape == "hubert-large"
    if settings.freeze_conv:
        body.feature_extractor._freeze_parameters()
    model = classifier.Classifier(body, design).to(where)
    folder = Path(tempfile.mkdtemp())
    # Clips that fill a batch of the usual size pass together.
    budget_s = BATCH * max(len(wave) for wave in waves) / SAMPLE_RATE_HZ
    fit = Fit(settings, 0, where, budget_s, folder, Waves(body))
    found = [_example(folder, number, wave) for number, wave in enumerate(waves)]
    dropout.install(model, fit.draws)
    body.fuse = where.type == "cuda"

    def batches() -> Iterator[Any]:
        for batch in fit.batches(found):
            fit.draws.begin(0, 1, [example.clip.clip for example in batch.examples], where)
            yield batch

    return model, batches


def _cached(design: Design, clips: int, where: torch.device) -> tuple[Any, Callable[[], Any]]:
    """The head on means of the same number of clips, whose values cost the same."""
    model = CachedHead(emotion_head.build(design)).to(where)
    means = torch.from_numpy(
        np.random.default_rng(0).standard_normal((clips, design.width), np.float32)
    )
    found = [_example(None, number, np.zeros(400, np.float32)) for number in range(clips)]
    places = range(0, clips, BATCH)
    return model, lambda: (
        Batch(found[at : at + BATCH], [means[at : at + BATCH].to(where)]) for at in places
    )


def _example(folder: Path | None, number: int, wave: Samples) -> Example:
    name = f"{number}.flac"
    sha256 = write_flac(folder / name, wave) if folder else ""
    # A path from the root: the benchmark has no project around it.
    path = str(folder / name) if folder else name
    known = {"corpus": str(CLIPS), "path": path, "duration_s": len(wave) / SAMPLE_RATE_HZ}
    clip = blank(str(number), **known, sha256=sha256)
    return Example(clip, "train", number % CLASSES, None)


if __name__ == "__main__":
    typer.run(main)
