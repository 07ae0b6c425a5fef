"""One epoch of nine emotion-share regressors: this pipeline against the published design.

The published design pads every clip to the longest in one dense array in memory, and trains nine
networks one after the other, each reading all of it. Both sides train architecture 2 at the
published widths on the same synthetic clips of 1 to 8 s at 50 frames per second, batch 128, at two
sizes of the corpus: a quarter of ``--clips``, and all. Each measurement is a process of its own.

On a CPU an epoch at these widths takes an hour or so for each side, so some of its batches are
measured (``--batches``; of the quarter, which is there for its memory, one): ours evenly spaced by
length and the longest among them, of the published design those of one of its nine equal networks.
The epoch is the median of their times per padded frame, times its padded frames. ``--batches 0``
measures the whole epoch of both sides, for which ``--divide`` makes the widths smaller.

    python -m benchmarks.share
    python -m benchmarks.share --clips 1024 --divide 16 --batches 0
    python -m benchmarks.share --batches 0 --device cuda
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import speech
from pipeline.corpora.manifest import Clip
from pipeline.embeddings.batches import of_epoch
from pipeline.embeddings.frames import Frames, Scale
from pipeline.embeddings.reader import Embedding, Embeddings, Header
from pipeline.embeddings.writer import write
from pipeline.methods.networks.regression import Batch, ScaledFrames, untrained
from pipeline.methods.networks.regressor import Design
from pipeline.splits.task import Example
from pipeline.splits.valued import UNDECIDED
from pipeline.training import loop
from pipeline.training.fit import Fit
from stages.networks import TrainingParams

SLOTS = 398
FRAMES_PER_S = 50
BATCH = 128
EMOTIONS = [f"emotion{number}" for number in range(9)]


@dataclass(frozen=True)
class Setting:
    """What is measured: clips, batches (0: all), divided widths, where, and on which device."""

    clips: int
    batches: int
    divide: int
    folder: Path
    device: str

    @property
    def design(self) -> Design:
        """Architecture 2 at the published widths, divided."""
        width, conv, lstm, feed = 1024, [768, 384, 192], 512, [256, 128, 64]
        by = self.divide
        return Design(
            head="cnn-lstm-attention",
            classes=EMOTIONS,
            means=[0.0] * 9,
            deviations=[1.0] * 9,
            joint=False,
            loss="mse",
            width=width // by,
            conv=[n // by for n in conv],
            lstm_width=lstm // by,
            feed_forward=[n // by for n in feed],
            attention_scale="sqrt",
            output="sigmoid",
        )

    @property
    def path(self) -> Path:
        """The cached frames."""
        return self.folder / f"{self.clips}.h5"

    def shares(self) -> np.ndarray[Any, Any]:
        """(clips, 9)."""
        return np.random.default_rng([2, self.clips]).uniform(size=(self.clips, 9))


@dataclass
class Watch:
    """Notes for each batch the seconds by clock and CPU, and its padded frames."""

    device: str
    laps: list[tuple[float, float, int]] = field(default_factory=list)
    mark: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Begin with the first batch, once the device is idle."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.mark = time.monotonic(), time.process_time()

    def lap(self, frames: int) -> None:
        """End a batch and begin the next."""
        clock, cpu = self.mark
        self.start()
        self.laps.append((self.mark[0] - clock, self.mark[1] - cpu, frames))

    def epoch(self, frames: int) -> tuple[float, float]:
        """Seconds by clock and CPU that an epoch of ``frames`` padded frames takes."""
        laps = np.array(self.laps)
        if self.device != "cpu":
            laps = laps[1:]  # libraries load and choose their kernels in a GPU's first batch
        clock, cpu = np.median(laps[:, :2] / laps[:, 2:], 0) * frames
        return float(clock), float(cpu)


@dataclass(frozen=True)
class Result:
    """An epoch's seconds by clock and CPU, and which of its batches were measured."""

    clock: float = 0.0
    cpu: float = 0.0
    measured: str = ""


@dataclass(frozen=True)
class Timed(ScaledFrames):
    """The pipeline's source, with a watch on what happens to each batch, reading included."""

    watch: Watch

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """As `ScaledFrames.batches`."""
        self.watch.start()
        for batch in super().batches(groups, device, epoch):
            try:
                yield batch
            finally:  # the loop asks for no batch after the last
                self.watch.lap(batch.frames.shape[0] * batch.frames.shape[1])


def synthesize(setting: Setting) -> None:
    """Write frames of clips of 1 to 8 s."""
    rng = np.random.default_rng([1, setting.clips])
    lengths = rng.integers(50, SLOTS, setting.clips)
    lengths[0] = SLOTS
    width = setting.design.width
    header = Header("synthetic", "", "", 0, width, 320, ("last",), (), "fp32", "float16", 1)
    names = [f"{number:06d}" for number in range(setting.clips)]
    with write(setting.path, header, names, int(lengths.sum())) as writer:
        for name, length in zip(names, lengths.tolist(), strict=True):
            frames = rng.standard_normal((length, width), np.float32)
            writer.append(Embedding(length, {"last": frames}, {}), name)


def clip_of(number: int, frames: int) -> Clip:
    """A clip of which nothing is known but its id and its length."""
    return speech.blank(f"{number:06d}", duration_s=frames / FRAMES_PER_S)


def ours(setting: Setting) -> Result:
    """One epoch of all nine; its one checkpoint, of the whole epoch, is not timed."""
    training = TrainingParams(
        regressors="separate",
        standardize=False,
        epochs=1,
        batch=BATCH,
        learning_rate=1e-4,
        patience=0,
        precision="fp32",
    )
    with Embeddings(setting.path) as embeddings:
        frames = Frames([embeddings], "last")
        lengths = [embeddings.length(clip) for clip in embeddings.clips]
        rows = zip(lengths, setting.shares().tolist(), strict=True)
        samples = [
            Example(clip_of(n, f), "train", UNDECIDED, None, tuple(s))
            for n, (f, s) in enumerate(rows)
        ]
        plan = sorted(
            of_epoch(lengths, BATCH, 1, 1), key=lambda rows: max(lengths[r] for r in rows)
        )
        kept = sampled(plan, setting.batches)
        few = [samples[row] for rows in kept for row in rows]
        watch = Watch(setting.device)
        source = Timed(frames, Scale.of(frames, [], measured=False), watch)
        device, whole_s = torch.device(setting.device), BATCH * SLOTS / FRAMES_PER_S
        model = untrained(setting.design, few, seed=1).to(device)
        fit = Fit(training, 1, device, whole_s, setting.folder, source)
        loop.train(fit, model, few, [])
    padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in plan)
    return Result(*watch.epoch(padded), f"{len(watch.laps)} of {len(plan)}")


def sampled(plan: list[list[int]], count: int) -> list[list[int]]:
    """Evenly spaced batches of a sorted plan, the last among them; all where count is 0."""
    if not 0 < count < len(plan):
        return plan
    return [plan[round((n + 1) * len(plan) / count) - 1] for n in range(count)]


class Published(nn.Module):
    """Architecture 2 as its code lays it out: packed sequences, attention over fixed slots."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        widths, layers = [design.width, *design.conv], []
        for a, b in pairwise(widths):
            layers += [nn.Conv1d(a, b, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers, nn.MaxPool1d(2))
        self.norm = nn.LayerNorm((SLOTS // 2, widths[-1]))
        self.lstm = nn.LSTM(widths[-1], design.lstm_width, 2, batch_first=True)
        self.query = nn.Linear(2 * design.lstm_width, design.lstm_width)
        self.slots = nn.LayerNorm((1, SLOTS // 2))
        steps: list[nn.Module] = []
        feed = [design.lstm_width, *design.feed_forward]
        for a, b in pairwise(feed):
            steps += [nn.Linear(a, b), nn.ReLU(), nn.LayerNorm(b)]
        self.network = nn.Sequential(*steps, nn.Linear(feed[-1], 1), nn.ReLU())

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, width, slots) to (batch, 1)."""
        hidden = self.norm(self.conv(frames).transpose(1, 2))
        packed = pack_padded_sequence(hidden, lengths, batch_first=True, enforce_sorted=False)
        states, (final, _) = self.lstm(packed)
        states = pad_packed_sequence(states, batch_first=True)[0]
        query = self.query(final.transpose(0, 1).flatten(1))[:, None]
        scores = query @ states.transpose(1, 2) / states.shape[2] ** 0.5
        weights = scores.new_zeros(len(frames), 1, SLOTS // 2)
        for row, length in enumerate(lengths.tolist()):
            weights[row, :, :length] = scores[row, :, :length].softmax(1)
        attended = (self.slots(weights)[:, :, : states.shape[1]] @ states)[:, 0]
        result: Tensor = self.network(attended)
        return result


def published(setting: Setting) -> Result:
    """One epoch of nine runs over the dense array, in float32 (published: float64)."""
    with h5py.File(setting.path) as file:
        offsets, frames = file["offsets"][:], file["last"]
        dense = np.zeros((setting.clips, setting.design.width, SLOTS), np.float32)
        for row, (first, last) in enumerate(pairwise(offsets)):
            dense[row, :, : last - first] = frames[first:last].T
    data, halves = torch.from_numpy(dense), torch.from_numpy(np.diff(offsets) // 2)
    shares = torch.from_numpy(setting.shares()).float()
    per_run = -(-setting.clips // BATCH)
    watch = Watch(setting.device)
    for emotion in range(1 if setting.batches else 9):
        torch.manual_seed(emotion)
        model = Published(setting.design).to(setting.device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        watch.start()
        for rows in torch.randperm(setting.clips).split(BATCH)[: setting.batches or None]:
            predicted = model(data[rows].to(setting.device), halves[rows])
            target = shares[rows, emotion, None].to(setting.device)
            nn.functional.mse_loss(predicted, target).backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.lap(len(rows) * SLOTS)
    measured = f"{len(watch.laps)} of {9 * per_run}"
    return Result(*watch.epoch(9 * setting.clips * SLOTS), measured)


def wake(setting: Setting) -> None:
    """Have the device load its libraries for these layers, which takes a minute off a cold disk."""
    model = Published(setting.design).to(setting.device)
    frames = torch.randn(2, setting.design.width, SLOTS, device=setting.device)
    model(frames, torch.tensor([SLOTS // 2] * 2)).sum().backward()
    torch.cuda.synchronize()


def idle(_setting: Setting) -> Result:
    """Nothing: what the libraries alone occupy."""
    return Result()


def measure(kind: Callable[[Setting], Result], setting: Setting) -> tuple[Result, float]:
    """The result, and peak resident GiB, in a process of its own."""
    torch.set_num_threads(1)
    if setting.device != "cpu" and kind is not idle:
        wake(setting)
    return kind(setting), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(
    clips: Annotated[int, typer.Option(help="Synthetic clips; a quarter is measured too.")] = 5000,
    batches: Annotated[int, typer.Option(help="Measured of an epoch; 0 for all.")] = 3,
    divide: Annotated[int, typer.Option(help="What the published widths are divided by.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Print time and memory of both designs, at two sizes of the corpus."""
    spawn = get_context("spawn")
    print(f"{'':10} {'clips':>6} {'batches':>10} {'s / epoch':>10} {'CPU s':>8} {'peak GiB':>9}")
    for count in (clips // 4, clips):
        epochs = {}
        with tempfile.TemporaryDirectory() as folder:
            fewest = 1 if device == "cpu" else 2
            measured = batches if count == clips else min(batches, fewest)
            setting = Setting(count, measured, divide, Path(folder), device)
            synthesize(setting)
            for kind in (idle, published, ours):
                with spawn.Pool(1) as pool:
                    found, peak = pool.apply(measure, (kind, setting))
                epochs[kind] = found
                times = f"{found.measured:>10} {found.clock:10.1f} {found.cpu:8.1f}"
                print(f"{kind.__name__:10} {count:6} {times} {peak:9.2f}", flush=True)
        clock = epochs[published].clock / epochs[ours].clock
        cpu = epochs[published].cpu / epochs[ours].cpu
        print(f"ours: {clock:.2f} times as fast ({cpu:.2f} by CPU time)", flush=True)


if __name__ == "__main__":
    typer.run(main)
