"""The parts of `benchmarks.gpu`, each a stream of rows, the one that matters most first.

Each runs in an empty project of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from benchmarks import extract, finetune, share, train
from benchmarks.device import TYPES, idle, peak_mib, reset_peak, seconds
from benchmarks.gpu_bench import Bench, as_it_comes, gflop_per_s
from benchmarks.gpu_kmeans import clusters, mixture, units_of
from benchmarks.gpu_table import Row
from benchmarks.speech import length_s
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.reader import Precision
from pipeline.encoders import encoder
from pipeline.units import kmeans, lloyd, nearest

# What the presets train: epochs of each stage over the trained share of a corpus, in all folds.
GMP_ATL = {"multitask": 10, "retrain": 30, "finetune": 15}
F64 = torch.float64
IEMOCAP_S, TRAINED, GMP_FOLDS = 7 * 3600, 0.8, 5
# Clips of RAVDESS, CREMA-D, TESS and SAVEE last about that long.
EFFICIENT = {"full": 50, "lora-qkv": 50}
CLIPS, CLIP_S, EFFICIENT_FOLDS = 9_900, 2.6, 6


def correctness(bench: Bench) -> Iterator[Row]:
    """Each figure must be at most its aim."""
    whole, odd = bench.waves[:8], bench.waves[0]
    waves = [*whole, odd[:400], odd + np.float32(0.5), odd * np.float32(1e-4)]
    aims = {"base": {"fp32": 1e-5, "fp16": 2.5e-3, "bf16": 2e-2}, "large": {"fp32": 3e-5}}
    for shape, of_shape in aims.items():
        yield from _exactness(bench, shape, of_shape, waves)
    frames, scale = mixture(bench, min(bench.frames, 65_536)), bench.scales[-2]
    host = frames.cpu().numpy()
    found = lloyd.fit(frames.clone(), [scale], 20, 1)[scale]
    own, on_cpu = (
        float(nearest.nearest(host, codebook)[0].mean())
        for codebook in (found, kmeans.fit(host.copy(), [scale], 20, 1)[scale])
    )
    yield Row("correctness", f"inertia at {scale} over the CPU's", own / on_cpu, "", aim=1.003)
    distances = torch.cdist(frames[:4096].double(), torch.from_numpy(found).to(frames).double())
    wrong = (units_of(frames[:4096], found)[1] != distances.argmin(1)).double().mean()
    yield Row("correctness", "units that brute force in fp64 denies", float(wrong), "", aim=1e-3)
    clips, settings = train.examples(bench.waves[:8]), bench.shapes["base"]
    trainer = train.Bench(clips, settings, bench.device, "fp32", 60.0)
    models = [_trained(trainer) for _ in range(2)]
    both = zip(*(model.parameters() for model in models), strict=True)
    differing = sum(not torch.equal(one, other) for one, other in both)
    yield Row("correctness", "weights that differ between two trainings", differing, "", aim=0)


def _exactness(
    bench: Bench, shape: str, aims: Mapping[str, float], waves: Sequence[Samples]
) -> Iterator[Row]:
    """Of the eight whole clips in each precision; in fp32 of the odd ones, too."""
    model = encoder.load(bench.encoder(shape)).to(bench.device)
    with as_it_comes():
        single, double = (extract.dump(model.to(kind), waves) for kind in (torch.float32, F64))
    for precision in precisions(bench, *aims):
        # Half precision has its own trouble with silence, here as in transformers.
        some = waves if precision == "fp32" else waves[:8]
        found = [one.frames[-3] for one in bench.embedder(shape, precision)(some)]
        what = f"{shape} {precision}, worst clip against transformers alone in fp32"
        yield Row("correctness", what, worst(found, single), "relative", aim=aims[precision])
        if precision == "fp32":
            for whose, made in (("this one", found), ("transformers", single)):
                what = f"{shape} fp32, worst clip of {whose} against fp64"
                yield Row("correctness", what, worst(made, double), "relative")


def worst(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The relative error of the clip that is furthest off."""
    pairs = zip(found, expected, strict=False)
    return max(extract.error([one], [truth]) for one, truth in pairs)


def _trained(trainer: train.Bench) -> torch.nn.Module:
    torch.manual_seed(0)
    model = trainer.classifier()
    fit, state = trainer.fit(model, 4)
    trainer.epoch(fit, state, model)
    return model


def precisions(bench: Bench, *names: str) -> list[str]:
    """Those that the product and the device have."""
    on_cpu = {"fp32", "bf16"}
    return [
        name
        for name in names
        if name in get_args(Precision) and (bench.device.type == "cuda" or name in on_cpu)
    ]


def extraction(bench: Bench) -> Iterator[Row]:
    """Base and large in each precision, against the padded batch; whole runs."""
    known = precisions(bench, "fp16", "bf16", "fp32")
    best = known[0]
    yield embedded(bench, "base", best)
    clips = bench.many(bench.hours * 3600)
    with extract.project(clips) as found:
        taken = seconds(bench.device, _fresh, extract.run, bench.encoder("base"), found, -3, best)
    what = f"{bench.hours:g} hours from FLAC to HDF5 in {best}, start-up included"
    yield Row("extract", what, taken, "s", aim=15 * bench.hours / 7)
    for precision in known:
        for shape in bench.shapes:
            if (shape, precision) != ("base", best):
                yield embedded(bench, shape, precision)


def _fresh(work: Callable[..., None], *given: object) -> None:
    """In a process of its own, which a stage is too."""
    with get_context("spawn").Pool(1) as pool:
        pool.apply(work, given)


def embedded(bench: Bench, shape: str, precision: str) -> Row:
    """Audio a second, on lengths met before and, as start-up, for the first time."""
    aims = {("base", "fp16"): 0.25, ("large", "fp16"): 0.2, ("base", "fp32"): 0.7}
    embed, waves = bench.embedder(shape, precision), bench.many(bench.hours * 180)
    reset_peak(bench.device)
    first, later = (seconds(bench.device, embed, waves) for _ in range(2))
    peak, idled = peak_mib(bench.device), idle(bench.device, later, embed, waves)
    model = encoder.load(bench.encoder(shape)).to(bench.device, TYPES[precision])
    work = gflop_per_s(model.config, model.config.num_hidden_layers - 2) * length_s(waves)
    batch = sorted(bench.waves, key=len)
    with as_it_comes():
        theirs = min(seconds(bench.device, extract.padded, model, batch) for _ in range(2))
    rate = length_s(waves) / later
    return Row(
        "extract", f"{shape} {precision}", rate, "s/s",
        of_card=bench.share(work, later, precision), aim_of_card=aims.get((shape, precision)),
        idle=idled, peak_mib=peak, start_s=first - later,
        peer="padded batches of 16", times=rate * theirs / length_s(batch),
    )  # fmt: skip


def training(bench: Bench) -> Iterator[Row]:
    """Each stage of GMP-ATL in bf16, transformers' own loop, and what the preset would take."""
    longest = int(train.MAX_S * SAMPLE_RATE_HZ)
    clips = train.examples([wave[:longest] for wave in bench.waves])
    trainer = train.Bench(clips, bench.shapes["base"], bench.device, "bf16", 240.0)
    config = encoder.load(Path("encoder")).config
    # Forwards once, backwards twice; what the front end made is kept.
    work = 3 * gflop_per_s(config, config.num_hidden_layers, front_end=False)
    hours = 0.0
    for name, found in trainer.stages():
        hours += GMP_FOLDS * TRAINED * IEMOCAP_S * GMP_ATL[name] / found.later / 3600
        yield Row(
            "train", name, found.later, "s/s", aim=5000,
            of_card=bench.share(work, 1 / found.later, "bf16"), idle=found.idle,
            peak_mib=found.peak_mib, start_s=trainer.seconds * (1 / found.first - 1 / found.later),
        )  # fmt: skip
        yield Row("train", f"{name}, first epoch", found.first, "s/s", aim=2500)
    yield Row("train", "GMP-ATL's preset, five folds of 7 h, epochs alone", hours, "h", aim=0.5)
    with as_it_comes():
        rate, peak = trainer.theirs("longest")
    yield Row("train", "transformers' Trainer, padded to the longest", rate, "s/s", peak_mib=peak)


def shares(bench: Bench) -> Iterator[Row]:
    """An epoch of nine regressors against the published design."""
    setting = share.Setting(1250, 6, 1, Path.cwd(), str(bench.device))
    share.synthesize(setting)
    ours = share.ours(setting)
    with as_it_comes():
        published = share.published(setting)
    yield Row(
        "share", "an epoch of 1,250 clips, nine regressors", ours.clock, "s",
        peer="the published design", times=published.clock / ours.clock,
    )  # fmt: skip


def finetuning(bench: Bench) -> Iterator[Row]:
    """Large in bf16, each method, and what the preset would take."""
    setting = finetune.Setting("hubert-large", "bf16", str(bench.device), 3)
    hours, length = 0.0, length_s(bench.waves)
    for method, epochs in EFFICIENT.items():
        taken, peak = finetune.measure(bench.waves, method, False, setting)  # type: ignore[arg-type]
        hours += EFFICIENT_FOLDS * TRAINED * CLIPS * CLIP_S * epochs * taken / length / 3600
        aim = 1500 if method == "full" else None
        yield Row("finetune", f"large {method}", length / taken, "s/s", aim=aim, peak_mib=peak)
    what = f"the efficient preset's epochs on {CLIPS} clips, {EFFICIENT_FOLDS} folds"
    yield Row("finetune", what, hours, "h")
    clips = train.examples(bench.waves)
    trainer = train.Bench(clips, bench.shapes["large"], bench.device, "bf16", 60.0)
    with as_it_comes():
        rate, peak = trainer.theirs("longest")
    what = "transformers' Trainer, large, front end frozen"
    yield Row("finetune", what, rate, "s/s", peak_mib=peak)


PARTS = {
    "correctness": correctness,
    "extract": extraction,
    "train": training,
    "kmeans": clusters,
    "share": shares,
    "finetune": finetuning,
}
NEED_A_CARD = {"extract", "train", "share", "finetune"}
