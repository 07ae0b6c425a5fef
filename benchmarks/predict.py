"""How many hours of audio a model judges in a minute, against the usual ways of doing it.

    python -m benchmarks.predict data/raw/ravdess --seconds 120
    python -m benchmarks.predict RAVDESS --seconds 3600 --device cuda

An exported classifier of hubert-base's shape with random weights, which cost the same. The rivals
are transformers' `pipeline("audio-classification")` and a plain loop over its model, on the same
clips; that all say the same is checked. Variants alternate on the same threads; the median of the
rounds stands. ONNX runs by onnxruntime, with weights of 32 and of 8 bits.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.ground.stage import set_threads

THREADS = int(os.environ.get("THREADS", "2"))
set_threads(THREADS)

import torch  # noqa: E402

from benchmarks.speech import length_s, recordings  # noqa: E402
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples  # noqa: E402
from pipeline.encoders import encoder  # noqa: E402
from pipeline.inference import judge, packing  # noqa: E402
from pipeline.inference.exporting import onnx_model  # noqa: E402
from pipeline.inference.passport import Passport, Pinned  # noqa: E402
from pipeline.methods import classifier  # noqa: E402
from pipeline.methods.emotion_head import Design  # noqa: E402
from pipeline.methods.finetuning import LossParams, ModelParams  # noqa: E402

CLASSES = ["angry", "calm", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
Answers = Callable[[Sequence[Samples]], np.ndarray[Any, Any]]


def main(
    corpora: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    seconds: Annotated[float, typer.Option(help="Of audio.")] = 120.0,
    rounds: Annotated[int, typer.Option(help="Of each variant.")] = 3,
    device: Annotated[str, typer.Option(help="cpu or cuda; ONNX is left out on cuda.")] = "cpu",
    blocks: Annotated[int, typer.Option(help="Of hubert-base's 12.")] = 12,
) -> None:
    """Print hours of audio per minute, and what ours takes of each rival's time."""
    waves = recordings(corpora, seconds)
    print(f"{len(waves)} clips, {length_s(waves):.0f} s, {device}, {THREADS} threads")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        export(folder, blocks, device == "cpu")
        variants = {"ours": ours(folder, device, "torch")}
        variants["transformers pipeline"] = pipe(folder, device)
        variants["plain loop"] = loop(folder, device)
        if device == "cpu":
            variants |= {name: ours(folder, "cpu", name) for name in judge.ONNX}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        answers = {}
        for _ in range(rounds):
            for name, variant in variants.items():
                wall, busy = time.perf_counter(), time.process_time()
                answers[name] = variant(waves)
                times[name].append((time.perf_counter() - wall, time.process_time() - busy))
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in times.items()
    }
    for name, (wall_s, busy_s) in medians.items():
        off = np.abs(answers[name] - answers["ours"]).max()
        print(
            f"{name:22} {length_s(waves) / 60 / wall_s:6.2f} hours a minute; ours takes "
            f"{medians['ours'][0] / wall_s:.2f} of its time, {medians['ours'][1] / busy_s:.2f} of "
            f"its CPU time; probabilities differ by {off:.1e}"
        )
        assert off < (0.1 if name == "onnx-int8" else 1e-4), name


def export(folder: Path, blocks: int, onnx: bool) -> None:
    """A classifier whose head transformers knows, as `ser export` writes it."""
    body = encoder.initialize({"model_type": "hubert", "num_hidden_layers": blocks}, 0)
    design = Design(
        method="full",
        target="emotion",
        classes=CLASSES,
        encoder="",
        encoder_sha256="",
        width=768,
        blocks=blocks,
        model=ModelParams(
            head="pool", layer="last", projection=256, lstm_width=1, batch_norm=False, dropout=0.0
        ),
        loss=LossParams(name="ce", scale=1.0, margin=0.0),
    )
    torch.manual_seed(0)
    classifier.save(classifier.Classifier(body, design), folder)
    Passport(
        format=1,
        name="benchmark",
        method="full",
        target="emotion",
        classes=CLASSES,
        encoder=Pinned(name="hubert-base"),
        corpora=None,
    ).write(folder)
    if onnx:
        onnx_model.write(folder, int8=True)
    packing.seal(folder)


def ours(folder: Path, device: str, backend: str) -> Answers:
    """What `ser predict` computes of clips."""
    found = judge.load(folder, device, backend)
    return lambda waves: softmax(np.concatenate([found.logits([wave]) for wave in waves]))


def pipe(folder: Path, device: str) -> Answers:
    """transformers' pipeline, a clip at a time as it is by default."""
    from transformers import pipeline

    made = pipeline("audio-classification", str(folder), device=device, top_k=len(CLASSES))

    def answers(waves: Sequence[Samples]) -> np.ndarray[Any, Any]:
        given = [{"raw": wave.copy(), "sampling_rate": SAMPLE_RATE_HZ} for wave in waves]
        told = [{one["label"]: one["score"] for one in found} for found in made(given)]
        return np.array([[found[name] for name in CLASSES] for found in told])

    return answers


def loop(folder: Path, device: str) -> Answers:
    """The script of transformers' documentation."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModelForAudioClassification.from_pretrained(folder).to(device).eval()

    @torch.no_grad()
    def answers(waves: Sequence[Samples]) -> np.ndarray[Any, Any]:
        made = []
        for wave in waves:
            inputs = extractor(wave, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
            made.append(model(**inputs.to(device)).logits.softmax(1).cpu())
        return torch.cat(made).numpy()

    return answers


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of logits as probabilities."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    found: np.ndarray[Any, Any] = powers / powers.sum(1, keepdims=True)
    return found


if __name__ == "__main__":
    typer.run(main)
