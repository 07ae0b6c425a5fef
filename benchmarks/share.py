"""One epoch of nine emotion-share regressors: this pipeline against the published design.

The published design pads every clip to the longest in one dense array in memory, and trains nine
networks one after the other, each reading all of it. Both sides train architecture 2 with the
published widths (divided by ``--divide``, so that a CPU can do it) on the same synthetic clips of
1 to 8 s at 50 frames per second, batch 128. Each measurement is a process of its own.

    python -m benchmarks.share --clips 256 --divide 8
    python -m benchmarks.share --clips 5000 --divide 1 --device cuda
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
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

from pipeline.cached import Frames, Reader, Scale
from pipeline.cnn_lstm import Design
from pipeline.embeddings import Embedding, Embeddings, Header
from pipeline.embeddings_writer import write
from pipeline.manifest import Clip
from pipeline.regression import Fit
from pipeline.shares import Rated, Sample, Training

SLOTS = 398
BATCH = 128
EMOTIONS = [f"emotion{number}" for number in range(9)]


@dataclass(frozen=True)
class Setting:
    """What is measured: clips, what the widths are divided by, where, and on which device."""

    clips: int
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


Times = tuple[float, float]


def now(setting: Setting) -> Times:
    """The clock and this process's CPU time, in seconds, once the device is idle."""
    if setting.device != "cpu":
        torch.cuda.synchronize()
    return time.monotonic(), time.process_time()


def since(start: Times, setting: Setting) -> Times:
    """Seconds on the clock and of CPU time since ``start``."""
    clock, cpu = now(setting)
    return clock - start[0], cpu - start[1]


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


def clip_of(number: int) -> Clip:
    """A clip of which nothing is known but its id."""
    blank: dict[str, Any] = dict.fromkeys((field.name for field in fields(Clip)), "")
    return Clip(**blank | {"clip": f"{number:06d}", "duration_s": 0.0, "start_s": 0.0})


def ours(setting: Setting) -> Times:
    """One epoch of all nine, with its checkpoint."""
    samples = [
        Sample(clip_of(number), "train", tuple(row))
        for number, row in enumerate(setting.shares().tolist())
    ]
    training = Training(
        regressors="separate",
        standardize=False,
        epochs=1,
        batch=BATCH,
        learning_rate=1e-4,
        patience=0,
    )
    with Embeddings(setting.path) as embeddings:
        frames = Frames([embeddings], "last")
        scale = Scale.of(frames, [], measured=False)
        reader = Reader(frames, scale, torch.device(setting.device))
        fit = Fit(setting.design, training, 1, reader, Rated(EMOTIONS, samples), setting.folder)
        start = now(setting)
        fit.run()
        return since(start, setting)


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


def published(setting: Setting) -> Times:
    """One epoch of nine runs over the dense array, in float32 (published: float64)."""
    with h5py.File(setting.path) as file:
        offsets, frames = file["offsets"][:], file["last"]
        dense = np.zeros((setting.clips, setting.design.width, SLOTS), np.float32)
        for row, (first, last) in enumerate(pairwise(offsets)):
            dense[row, :, : last - first] = frames[first:last].T
    data, halves = torch.from_numpy(dense), torch.from_numpy(np.diff(offsets) // 2)
    shares = torch.from_numpy(setting.shares()).float()
    start = now(setting)
    for emotion in range(9):
        model = Published(setting.design).to(setting.device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        for rows in torch.randperm(setting.clips).split(BATCH):
            predicted = model(data[rows].to(setting.device), halves[rows])
            target = shares[rows, emotion, None].to(setting.device)
            nn.functional.mse_loss(predicted, target).backward()
            optimizer.step()
            optimizer.zero_grad()
    return since(start, setting)


def idle(_setting: Setting) -> Times:
    """Nothing: what the libraries alone occupy."""
    return 0.0, 0.0


def measure(kind: Callable[[Setting], Times], setting: Setting) -> tuple[float, float, float]:
    """Seconds of an epoch by clock and CPU, and peak resident GiB, in a process of its own."""
    torch.set_num_threads(1)
    clock, cpu = kind(setting)
    return clock, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(
    clips: Annotated[int, typer.Option(help="Synthetic clips; a quarter is measured too.")] = 256,
    divide: Annotated[int, typer.Option(help="What the published widths are divided by.")] = 8,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Print time and memory of both designs, at two sizes of the corpus."""
    spawn = get_context("spawn")
    print(f"{'':10} {'clips':>6} {'s / epoch of nine':>18} {'CPU s':>7} {'peak GiB':>9}")
    for count in (clips // 4, clips):
        for kind in (idle, published, ours):
            with tempfile.TemporaryDirectory() as folder:
                setting = Setting(count, divide, Path(folder), device)
                synthesize(setting)
                with spawn.Pool(1) as pool:
                    clock, cpu, peak = pool.apply(measure, (kind, setting))
            row = f"{kind.__name__:10} {count:6} {clock:18.1f} {cpu:7.1f} {peak:9.2f}"
            print(row, flush=True)


if __name__ == "__main__":
    typer.run(main)
