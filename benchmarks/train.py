"""How fast training passes over real speech: this loop against transformers' own example.

    python -m benchmarks.train data/raw/ravdess data/raw/emodb --seconds 300

The rival is transformers' `Trainer` as `run_audio_classification.py` sets it up: random batches of
8, accumulated 4 times, each padded to its longest clip, or to the script's 20 s. Both sides fine-
tune the same HuBERT base (random weights cost the same, no layer is dropped) with its pooling head,
front end frozen, Adam, on the same clips; ours takes batches of 32. Neither writes checkpoints
meanwhile. On a CPU seconds are those of the process (one thread), on a GPU of the clock; there
`benchmarks.gpu` measures each stage of GMP-ATL too. What takes more memory than was free at the
start is not finished. It needs no DVC.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import typer

from pipeline.ground.stage import set_threads

set_threads(1)

import torch  # noqa: E402
import transformers  # noqa: E402

from benchmarks.device import idle, peak_mib, reset_peak, wait  # noqa: E402
from benchmarks.speech import as_long_as_iemocap, clip_of, length_s, recordings  # noqa: E402
from pipeline.audio.flac import read_clip  # noqa: E402
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples  # noqa: E402
from pipeline.encoders import encoder, layout  # noqa: E402
from pipeline.gmp.masked_prediction import MaskedPrediction  # noqa: E402
from pipeline.gmp.multitask import Multitask  # noqa: E402
from pipeline.methods.classifier import Classifier  # noqa: E402
from pipeline.methods.emotion_head import Design  # noqa: E402
from pipeline.splits.task import Example  # noqa: E402
from pipeline.training import dropout  # noqa: E402
from pipeline.training.checkpoint import State  # noqa: E402
from pipeline.training.epoch import Epoch  # noqa: E402
from pipeline.training.fit import Fit  # noqa: E402
from pipeline.training.masking import Spans  # noqa: E402
from pipeline.training.settings import Precision, Training  # noqa: E402
from pipeline.training.waves import Waves  # noqa: E402
from pipeline.work.device import select  # noqa: E402

CLASSES = ["angry", "happy", "neutral", "sad"]
SCALES = [64, 512, 4096]
RATE = 1e-4
RIVALS: dict[str, Literal["longest", "max_length"]] = {
    "transformers, padded to the longest": "longest",
    "transformers, padded to 20 s": "max_length",
}
MAX_S = 20.0  # the script's max_length_seconds, and our max_clip_s


def main(
    corpora: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    seconds: Annotated[float, typer.Option(help="Of audio in an epoch.")] = 300.0,
    lengths: Annotated[str, typer.Option(help="Clips as recorded (own), or iemocap.")] = "iemocap",
    blocks: Annotated[int, typer.Option(help="Transformer blocks; 12 is HuBERT base.")] = 12,
    precision: Annotated[Precision, typer.Option(help="fp32 or bf16.")] = "fp32",
    micro_batch_s: Annotated[float, typer.Option(help="Seconds in one pass.")] = 60.0,
) -> None:
    """Print seconds of audio trained per second, ours and theirs, and per stage on a GPU."""
    device = select("auto")
    if device.type == "cpu":
        _limit_memory()
    waves = recordings(corpora, seconds)
    if lengths == "iemocap":
        waves = as_long_as_iemocap(waves)
    waves = [wave[: int(MAX_S * SAMPLE_RATE_HZ)] for wave in waves]
    settings = {"model_type": "hubert", "num_hidden_layers": blocks}
    print(f"{len(waves)} clips, {length_s(waves):.0f} s, {blocks} blocks, {precision}, {device}")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bench = Bench(examples(waves), settings, device, precision, micro_batch_s)
        bench.against_transformers()


class Rates(NamedTuple):
    """Seconds of audio a second in the first epoch and later, peak memory, share of idle time."""

    first: float
    later: float
    peak_mib: float
    idle: float | None


class Bench:
    """Clips, model and device that all measurements share."""

    def __init__(
        self,
        found: list[Example],
        settings: dict[str, Any],
        device: torch.device,
        precision: Precision,
        micro_batch_s: float,
    ) -> None:
        self.found, self.settings, self.device = found, settings, device
        self.precision, self.micro_batch_s = precision, micro_batch_s
        self.seconds = sum(example.clip.duration_s for example in found)
        encoder.save(encoder.initialize(settings, 0), _made("encoder"))

    def against_transformers(self) -> None:
        """Ours, in its first epoch and once the front end is kept, and the two rivals."""
        ours = self.ours(self.classifier(), 32)
        print(
            f"ours: {ours.first:.1f} s/s in the first epoch, {ours.later:.1f} later, "
            f"peak {ours.peak_mib:.0f} MiB",
            flush=True,
        )
        for name, padding in RIVALS.items():
            try:
                rate, memory = self.theirs(padding)
            except RuntimeError as error:  # torch has a class for a GPU's alone
                print(f"{name}: not finished, {str(error).splitlines()[0]}", flush=True)
                continue
            print(
                f"{name}: {rate:.1f} s/s, ours is {ours.first / rate:.2f} to "
                f"{ours.later / rate:.2f} times, peak {memory:.0f} MiB",
                flush=True,
            )

    def stages(self) -> Iterator[tuple[str, "Rates"]]:
        """What GMP-ATL trains, each stage's rates."""
        yield "finetune", self.ours(self.classifier("bilstm", "am-softmax"), 64)
        yield "multitask", self.ours(Multitask(self.encoder(), len(CLASSES), 256, 0.9), 64)
        spans = Spans(0.8, 10)
        yield (
            "retrain",
            self.ours(MaskedPrediction(self.encoder(), SCALES, self.units, spans, 1), 64),
        )

    def ours(self, model: Any, batch: int) -> "Rates":
        """Of the first epoch, of the third, and on a GPU how idle it was in a fourth."""
        fit, state = self.fit(model, batch)
        epochs = []
        reset_peak(self.device)
        for _ in range(3):
            start = self.clock()
            self.epoch(fit, state, model)
            epochs.append(self.clock() - start)
        peak = peak_mib(self.device)
        idled = idle(self.device, epochs[2], self.epoch, fit, state, model)
        return Rates(self.seconds / epochs[0], self.seconds / epochs[2], peak, idled)

    def epoch(self, fit: Fit, state: State, model: Any) -> None:
        """One more epoch."""
        state.history.append(Epoch(fit, state, {"": model}, self.found).run())
        wait(self.device)

    def theirs(self, padding: Literal["longest", "max_length"]) -> tuple[float, float]:
        """Seconds per second of transformers' Trainer over one epoch, and peak memory in MiB."""
        config = transformers.HubertConfig.from_dict(
            {**self.settings, "layerdrop": 0.0, "apply_spec_augment": False, "num_labels": 4}
        )
        model = transformers.HubertForSequenceClassification(config)
        model.freeze_feature_encoder()
        arguments = transformers.TrainingArguments(
            "out", per_device_train_batch_size=8, gradient_accumulation_steps=4,
            num_train_epochs=1, learning_rate=RATE, remove_unused_columns=False, report_to=[],
            save_strategy="no", logging_strategy="no", disable_tqdm=True, max_grad_norm=0.0,
            use_cpu=self.device.type == "cpu", bf16=self.precision == "bf16",
            dataloader_num_workers=4 if self.device.type == "cuda" else 0,
        )  # fmt: skip
        extractor = transformers.Wav2Vec2FeatureExtractor(
            do_normalize=False, return_attention_mask=True
        )
        collate = transformers.DataCollatorWithPadding(
            extractor, padding=padding, max_length=int(MAX_S * SAMPLE_RATE_HZ)
        )
        rows = [{"input_values": read_clip(e.clip.file), "labels": e.label} for e in self.found]
        trainer = transformers.Trainer(model, arguments, collate, rows)
        reset_peak(self.device)
        start = self.clock()
        trainer.train()
        rate = self.seconds / (self.clock() - start)
        return rate, peak_mib(self.device)

    def clock(self) -> float:
        """Other programs on a CPU must not count; on a GPU the host's waiting must."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def fit(self, model: Any, batch: int) -> tuple[Fit, State]:
        """A run of ours that writes nothing."""
        training = Training(
            epochs=9, batch=batch, learning_rate=RATE, patience=0, freeze_conv=True,
            precision=self.precision,
        )  # fmt: skip
        model.to(self.device)
        source = Waves(model.encoder)
        fit = Fit(training, 1, self.device, self.micro_batch_s, Path(), source)
        dropout.install(model, fit.draws)
        model.encoder.fuse = self.device.type == "cuda"  # as for the hours that a corpus lasts
        parameters = [p for p in model.parameters() if p.requires_grad]
        return fit, State(model, torch.optim.Adam(parameters, RATE, fused=True))

    def encoder(self) -> Any:
        """The same encoder every time."""
        return encoder.load(Path("encoder"), freeze_conv=True)

    def classifier(self, head: str = "pool", loss: str = "ce") -> Classifier:
        """On the last layer, as transformers' own."""
        body = self.encoder()
        design = Design.model_validate(
            {
                "method": "full", "target": "emotion", "classes": CLASSES,
                "encoder": "", "encoder_sha256": "",
                "width": body.config.hidden_size,
                "blocks": body.config.num_hidden_layers,
                "model": {
                    "head": head, "layer": "last", "projection": 256, "lstm_width": 256,
                    "batch_norm": False, "dropout": 0.0,
                },
                "loss": {"name": loss, "scale": 30.0, "margin": 0.2},
            }
        )  # fmt: skip
        return Classifier(body, design)

    def units(self, clip: str) -> np.ndarray[Any, Any]:
        """Random units of a clip, (scales, frames)."""
        found = next(e.clip for e in self.found if e.clip.clip == clip)
        frames = layout.frame_count(round(found.duration_s * SAMPLE_RATE_HZ))
        rng = np.random.default_rng(0)
        return np.stack([rng.integers(0, scale, frames) for scale in SCALES])


def examples(waves: Sequence[Samples]) -> list[Example]:
    """The waves as clips of the working directory's project, each of some class."""
    clips = [clip_of(n, wave) for n, wave in enumerate(waves)]
    return [Example(c, "train", n % len(CLASSES), n % 2) for n, c in enumerate(clips)]


def _made(name: str) -> Path:
    Path(name).mkdir()
    return Path(name)


def _limit_memory() -> None:
    """Make an allocation beyond what is free now fail: else the system kills some process."""
    free = Path("/proc/meminfo").read_text("utf-8").split("MemAvailable:")[1].split()[0]
    resource.setrlimit(resource.RLIMIT_DATA, (int(free) * 1024, -1))


if __name__ == "__main__":
    typer.run(main)
