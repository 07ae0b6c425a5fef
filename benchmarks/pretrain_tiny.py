"""Pretrain the demo's encoder: HuBERT's recipe on hours of the demo's own synthetic voices.

    python -m benchmarks.pretrain_tiny OUT --hours 8 --budget 210      # a GPU: as much as fits
    python -m benchmarks.pretrain_tiny OUT --hours 3 --epochs 9,12     # the same again, anywhere

Speakers, texts and takes are others than those of any demo corpus, and no label is used. Units of
39 MFCC, masked prediction from random weights, units of a middle layer of that, masked prediction
from random weights again (Hsu et al. 2021). OUT gets the encoder in the hub's layout, in fp16, and
``curve.json``: losses of training and of held-out voices, and how well emotions of held-out
speakers are told from its layers (logistic regression, folds by speaker), which chooses nothing
here. It is written after each epoch. What an interrupted run has done is kept in WORK. No DVC.
"""

import time

START = time.monotonic()  # what a cold disk takes to import torch counts

import json  # noqa: E402
from collections.abc import Iterable, Iterator, Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import typer  # noqa: E402

from pipeline.ground.stage import set_threads  # noqa: E402

set_threads(1)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks import voices  # noqa: E402
from pipeline.corpora.manifest import EMOTIONS  # noqa: E402
from pipeline.embeddings import batches  # noqa: E402
from pipeline.encoders import encoder, forward  # noqa: E402
from pipeline.encoders.frontends import Fbank, Mfcc  # noqa: E402
from pipeline.encoders.layers import index  # noqa: E402
from pipeline.gmp.masked_prediction import MaskedPrediction  # noqa: E402
from pipeline.ground.files import write_json  # noqa: E402
from pipeline.ground.progress import say  # noqa: E402
from pipeline.splits.task import Example  # noqa: E402
from pipeline.training import dropout  # noqa: E402
from pipeline.training.checkpoint import LAST, State  # noqa: E402
from pipeline.training.epoch import Epoch  # noqa: E402
from pipeline.training.fit import Fit  # noqa: E402
from pipeline.training.masking import Spans  # noqa: E402
from pipeline.training.settings import Warmed  # noqa: E402
from pipeline.training.waves import Batch  # noqa: E402
from pipeline.units import kmeans, nearest  # noqa: E402
from pipeline.work.device import select  # noqa: E402
from pipeline.work.seeds import derive  # noqa: E402

# None is the seed of a demo corpus (1, or a few more where seeds are compared).
SEED, DEV_SEED = 20_260_001, 20_260_002
SHAPE = {
    "model_type": "hubert",
    "num_hidden_layers": 12,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": [64] * 7,
    "feat_extract_norm": "group",
    "hidden_dropout": 0.0,
    "activation_dropout": 0.0,
    "attention_dropout": 0.0,
}
BANDS: dict[str, Any] = {"bands": 40, "window_ms": 25.0, "high_hz": 8000.0, "hop_ms": 10.0}
MFCC = Mfcc(kind="mfcc", coefficients=13, deltas=2, every=2, **BANDS)
FBANK = Fbank(kind="fbank", **BANDS)
UNITS = ([100], [500])
LAYER = -7  # whose frames are clustered for the second iteration: the sixth of twelve blocks
SHARE = 0.35  # of the training time, for the first iteration
SPANS = Spans(0.8, 10)
PROBES = 3  # in an iteration
FEW = [-10, -6, -2]  # layers that they look at
Frames = Sequence[npt.NDArray[np.float32]]


@dataclass
class Data:
    """Clips in memory, on the device that trains."""

    said: list[voices.Said]
    waves: dict[str, Tensor]
    mfcc: Frames
    examples: list[Example]
    units: dict[str, npt.NDArray[np.int16]] = field(default_factory=dict)

    @classmethod
    def of(cls, said: list[voices.Said], pairs: list[voices.Heard], role: str) -> "Data":
        """Clips as `voices.heard` gives them."""
        lengths = [len(pcm) / 16_000 for pcm, _ in pairs]
        found = [voices.example(place, s, role) for place, s in enumerate(lengths)]
        waves = [torch.from_numpy(voices.samples(pcm)) for pcm, _ in pairs]
        names = [one.clip.clip for one in found]
        return cls(said, dict(zip(names, waves, strict=True)), [mfcc for _, mfcc in pairs], found)

    def to(self, device: torch.device) -> None:
        """Move the waveforms there: they are read many times."""
        self.waves = {name: wave.to(device) for name, wave in self.waves.items()}


class Memory:
    """The source of batches."""

    def __init__(self, *held: Data) -> None:
        self._held = {one.examples[0].role: one.waves for one in held}

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """As `Waves.batches`."""
        for members in groups:
            waves = [self._held[one.role][one.clip.clip] for one in members]
            yield Batch(members, waves, epoch)


def main(  # noqa: PLR0913, PLR0917
    out: Annotated[Path, typer.Argument(help="The encoder and curve.json go here.")],
    hours: Annotated[float, typer.Option(help="Of synthetic speech.")] = 6.0,
    budget: Annotated[float, typer.Option(help="Seconds in all, where no epochs are given.")] = 210,
    epochs: Annotated[str, typer.Option(help="Of both iterations, such as 20,30.")] = "",
    batch: Annotated[int, typer.Option(help="Clips in a step.")] = 128,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 7e-4,
    work: Annotated[Path, typer.Option(help="Unfinished work.")] = Path(".scratch/pretrain_tiny"),
    probe_speakers: Annotated[int, typer.Option(help="Held-out speakers.")] = 24,
) -> None:
    """Speak, cluster, train, twice."""
    run = Run(out, work, budget, batch, rate)
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    planned = [int(one) for one in epochs.split(",") if one] or [0, 0]
    train, dev = run.spoken(hours, probe_speakers)
    frames: Frames = train.mfcc
    dev_frames: Frames = dev.mfcc
    for number, count in enumerate(planned):
        run.cluster(number, frames, dev_frames)
        model = run.train(number, count)
        # Should the run be cut off now, the first iteration's weights are whole.
        run.write(model, f"iteration{number + 1}.safetensors")
        if number + 1 < len(planned):
            frames, dev_frames = run.frames(model, train), run.frames(model, dev)
    (out / "latest.safetensors").replace(out / "model.safetensors")
    run.note("done", seconds=run.passed())


@dataclass
class Run:
    """One pretraining: where it writes and how far it is."""

    out: Path
    work: Path
    budget: float
    batch: int
    rate: float
    curve: dict[str, Any] = field(default_factory=dict)

    def passed(self) -> float:
        """Seconds since the start."""
        return round(time.monotonic() - START, 1)

    def note(self, name: str, **values: Any) -> None:
        """Say something and keep it in ``curve.json``."""
        self.curve[name] = values
        write_json(self.out / "curve.json", self.curve)
        brief = {k: v for k, v in values.items() if not isinstance(v, list)}
        say(f"{self.passed():6.1f} s  {name}: {json.dumps(brief)}")

    def spoken(self, hours: float, probe_speakers: int) -> tuple[Data, Data]:
        """Training voices and held-out ones, on the device."""
        said, probed = voices.hours(hours), voices.cast(probe_speakers, 2)
        self.tag = f"{hours:g}h-{probe_speakers}"
        make = lambda: voices.heard(SEED, said, MFCC)  # noqa: E731
        make_dev = lambda: voices.heard(DEV_SEED, probed, MFCC)  # noqa: E731
        heard = voices.kept(self.work / f"train-{hours:g}h.npz", make)
        self.train_data = Data.of(said, heard, "train")
        self.dev_data = Data.of(
            probed, voices.kept(self.work / f"dev-{probe_speakers}.npz", make_dev), "dev"
        )
        seconds = sum(one.clip.duration_s for one in self.train_data.examples)
        self.device = select("auto", deterministic=False)
        torch.backends.cuda.matmul.allow_tf32 = True
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        self.note("voices", hours=seconds / 3600, clips=len(said), device=name)
        pooled = [_pooled(FBANK.frames(wave.numpy())) for wave in self.dev_data.waves.values()]
        self.note("fbank", uar=uar(np.stack(pooled), self.dev_data.said))
        self.train_data.to(self.device)
        self.dev_data.to(self.device)
        return self.train_data, self.dev_data

    def cluster(self, number: int, frames: Frames, dev_frames: Frames) -> None:
        """Units of training and held-out clips, from codebooks of the training clips' frames."""
        codebooks = self.work / f"codebook-{self.tag}-{number}.npz"
        scales = UNITS[number]
        if codebooks.is_file():
            with np.load(codebooks) as found:
                books = {scale: found[str(scale)] for scale in scales}
        else:
            sample = _sample(frames, 4 * kmeans.needed(scales))
            books = kmeans.fit(sample, scales, 20, SEED)
            named: dict[str, Any] = {str(scale): values for scale, values in books.items()}
            np.savez(codebooks, **named)
        search = nearest.searcher(books)
        for data, own in ((self.train_data, frames), (self.dev_data, dev_frames)):
            for one, clip in zip(data.examples, own, strict=True):
                units = [numbers for _, numbers in search(clip).values()]
                data.units[one.clip.clip] = np.stack(units).astype(np.int16)
        used = len(np.unique(np.concatenate([u[0] for u in self.train_data.units.values()])))
        self.note(f"units {number + 1}", scales=scales, used=used)

    def train(self, number: int, epochs: int) -> Any:
        """An encoder from random weights, trained on the units; written after each epoch."""
        fit, model, state = self.begin(number, epochs)
        timed = [time.monotonic()]
        while len(state.history) < fit.settings.epochs:
            for group in state.optimizer.param_groups:
                group["lr"] = fit.settings.rate(len(state.history) + 1)
            row = {"epoch": len(state.history) + 1, **self.epoch(fit, state)}
            state.history.append(row)
            timed.append(time.monotonic())
            if not epochs and len(state.history) == 2:
                fit = self.planned(number, fit, timed)
            last = len(state.history) == fit.settings.epochs
            every = max(1, fit.settings.epochs // PROBES)
            row["dev_loss"] = fit.mean_loss(model, self.dev_data.examples)
            if last or len(state.history) % every == 0:
                row |= self.probe(model.encoder, every_layer=last and number + 1 == len(UNITS))
            self.note(f"iteration {number + 1}", **row, history=state.history)
            self.write(model.encoder)
            state.save(fit.folder / LAST)
        return model.encoder

    def begin(self, number: int, epochs: int) -> tuple[Fit, Any, State]:
        """The model on the device, as far as an interrupted run with given epochs came."""
        settings = Warmed(
            epochs=epochs or 2, batch=self.batch, learning_rate=self.rate, warmup=3,
            precision="fp32",
        )  # fmt: skip
        seed = derive(SEED, "iteration", number)
        folder = self.work / f"{self.tag}-{self.batch}-{self.rate:g}-{number}"
        folder.mkdir(exist_ok=True)
        source = Memory(self.train_data, self.dev_data)
        fit = Fit(settings, seed, self.device, 1e9, folder, source)
        if self.device.type == "cpu":
            fit.micro_batch_s = 60.0

        torch.manual_seed(derive(seed, "init"))
        body = encoder.initialize(SHAPE, seed)
        model = MaskedPrediction(body, UNITS[number], self._units, SPANS, seed).to(self.device)
        dropout.install(model, fit.draws)
        made = torch.optim.Adam(model.parameters(), settings.learning_rate, (0.9, 0.98), fused=True)
        state = State(model, made)
        if epochs:  # a budget is of one run
            state.restore(folder / LAST)
        return fit, model, state

    def _units(self, clip: str) -> npt.NDArray[np.int16]:
        data = self.train_data if clip.startswith("train") else self.dev_data
        return data.units[clip]

    def epoch(self, fit: Fit, state: State) -> dict[str, float]:
        """One epoch of the one loop."""
        return Epoch(fit, state, {"": state.model}, self.train_data.examples).run()

    def planned(self, number: int, fit: Fit, timed: Sequence[float]) -> Fit:
        """As many epochs as the rest of the budget has room for."""
        left = self.budget - self.passed()
        own = (left + timed[2] - timed[0]) * (SHARE if number == 0 else 1) - (timed[2] - timed[0])
        # What measures takes a few seconds, and so does the clustering between.
        more = int((own - 8) / (timed[2] - timed[1]) * 0.95)
        fit.settings = fit.settings.model_copy(update={"epochs": 2 + max(1, more)})
        return fit

    def probe(self, model: Any, every_layer: bool) -> dict[str, Any]:
        """UAR by layer, held-out speakers; of all layers or of a few."""
        layers = [*range(-13, 0)] if every_layer else FEW
        pooled = self.pooled(model, layers)
        found = {index(n, 12): uar(pooled[n], self.dev_data.said) for n in layers}
        return {f"uar_{n}": round(value, 4) for n, value in found.items()}

    @torch.inference_mode()
    def pooled(self, model: Any, layers: Sequence[int]) -> dict[int, npt.NDArray[np.float32]]:
        """Mean and deviation over time of the held-out clips, (clips, 2 width), by layer."""
        model.eval()
        found: dict[int, list[npt.NDArray[np.float32]]] = {n: [] for n in layers}
        for group in _groups(self.dev_data):
            waves = [self.dev_data.waves[one.clip.clip] for one in group]
            hidden, lengths = forward.hidden(model, waves, layers)
            for n in layers:
                frames = hidden[n].float().cpu().numpy()
                found[n] += [_pooled(one[:k]) for one, k in zip(frames, lengths, strict=True)]
        return {n: np.stack(rows) for n, rows in found.items()}

    @torch.inference_mode()
    def frames(self, model: Any, data: Data) -> Frames:
        """The frames that are clustered, of each clip."""
        model.eval()
        found: list[npt.NDArray[np.float32]] = []
        for group in _groups(data):
            waves = [data.waves[one.clip.clip] for one in group]
            hidden, lengths = forward.hidden(model, waves, [LAYER])
            own = hidden[LAYER].half().cpu().numpy()
            found += [one[:k] for one, k in zip(own, lengths, strict=True)]
        return found

    def write(self, model: Any, name: str = "latest.safetensors") -> None:
        """The encoder as it is now, in fp16."""
        from safetensors.torch import save_file

        encoder.write_config(model, self.out)
        state = {key: v.detach().half().cpu().contiguous() for key, v in model.state_dict().items()}
        staged = self.out / f"{name}~"
        save_file(state, staged, {"format": "pt"})
        staged.replace(self.out / name)


def uar(vectors: npt.NDArray[np.float32], said: Sequence[voices.Said], folds: int = 4) -> float:
    """Unweighted average recall of logistic regression, by folds of speakers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.array([EMOTIONS.index(one.emotion) for one in said])
    held = np.array([one.speaker // 2 % folds for one in said])  # a woman and a man together
    guessed = np.empty_like(labels)
    for fold in range(folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        model.fit(vectors[held != fold], labels[held != fold])
        guessed[held == fold] = model.predict(vectors[held == fold])
    return float(balanced_accuracy_score(labels, guessed))


def _groups(data: Data) -> list[list[Example]]:
    lengths = [one.clip.duration_s for one in data.examples]
    cut = batches.in_order(range(len(lengths)), lengths, 400.0)
    return [[data.examples[place] for place in group] for group in cut]


def _pooled(frames: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    frames = frames.astype(np.float32)
    return np.concatenate([frames.mean(0), frames.std(0)])


def _sample(frames: Frames, total: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(SEED)
    each = max(1, total // len(frames))
    drawn = [own[rng.integers(len(own), size=min(each, len(own)))] for own in frames]
    return np.concatenate(drawn).astype(np.float32)


if __name__ == "__main__":
    typer.run(main)
