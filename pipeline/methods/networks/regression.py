"""Regressors of emotion shares: batches of cached frames, the networks, and what is kept of them.

Between `pipeline.embeddings.frames` and the stage `share`. Separate regressors train
together: every one passes over the same batch in turn, so that reading and padding happen once, and
each stops early on its own dev loss.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.embeddings.batches import read_ahead
from pipeline.embeddings.frames import Frames, Scale
from pipeline.ground import files
from pipeline.methods.networks.cnn_lstm import Design, Regressor
from pipeline.splits.shares import Rated, Sample, Shares
from pipeline.training import checkpoint
from pipeline.training.fit import Fit, Together
from pipeline.work.seeds import derive


@dataclass(frozen=True)
class Batch:
    """Clips that pass a network together.

    ``frames`` (clips, frames, width) is zero on padding, ``lengths`` is (clips,), ``shares``
    (clips, emotions) has NaN where a share is unknown.
    """

    examples: Sequence[Sample]
    frames: Tensor
    lengths: Tensor
    shares: Tensor


@dataclass(frozen=True)
class ScaledFrames:
    """The source of batches of rated clips."""

    frames: Frames
    scale: Scale

    def batches(
        self, groups: Iterable[Sequence[Sample]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; every epoch has the same."""

        def read(members: Sequence[Sample]) -> Batch:
            clips = [self.scale(torch.from_numpy(self.frames.read(sample))) for sample in members]
            frames = pad_sequence(clips, batch_first=True)
            lengths = torch.tensor([len(clip) for clip in clips])
            shares = torch.tensor([sample.shares for sample in members])
            return Batch(members, *(t.to(device) for t in (frames, lengths, shares)))

        return read_ahead(read, groups)


class ShareRegressor(Regressor):
    """A regressor of some of the emotions that a batch has shares of: those in ``columns``."""

    def __init__(self, design: Design, emotions: Sequence[str], columns: Sequence[int]) -> None:
        super().__init__(design, emotions)
        self.columns = list(columns)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Squared errors summed over the known shares, and their number."""
        target = batch.shares[:, self.columns]
        error = self(batch.frames, batch.lengths).float() - target.nan_to_num()
        # Counted where the shares came from: asking a GPU would make the host wait.
        known = np.isfinite([[item.shares[c] for c in self.columns] for item in batch.examples])
        return (error.square() * ~target.isnan()).sum(), int(known.sum())


def untrained(design: Design, rated: Rated, joint: bool, seed: int) -> Together:
    """One regressor per emotion, or one for all of them.

    Training starts at the mean shares of train, where it would spend its first epochs.
    """
    emotions = rated.emotions
    means = np.nanmean([sample.shares for sample in rated.of_role("train")], 0)
    groups = {"joint": emotions} if joint else {e: [e] for e in emotions}
    regressors = {}
    for name, group in groups.items():
        torch.manual_seed(derive(seed, "init", name))
        columns = [emotions.index(emotion) for emotion in group]
        regressors[name] = ShareRegressor(design, group, columns)
        regressors[name].start_at(torch.tensor(means[columns]))
    return Together(regressors)


def predict(fit: Fit, together: Together, found: Sequence[Sample]) -> Shares:
    """The shares of every sample's clip, (samples, emotions), in the order given."""
    together.eval()

    def shares(batch: Batch) -> Tensor:
        made = [regressor(batch.frames, batch.lengths) for regressor in together.models]
        return torch.cat(made, 1)

    return fit.outputs(shares, found)


def save(out: Path, design: Design, regressors: Mapping[str, Regressor], scale: Scale) -> None:
    """Write ``model.safetensors`` and ``config.json`` into an existing folder."""
    tensors = {"scale/mean": scale.mean, "scale/deviation": scale.deviation}
    for name, regressor in regressors.items():
        tensors |= {f"{name}/{key}": value for key, value in regressor.state_dict().items()}
    checkpoint.write(out / "model.safetensors", tensors)
    outputs = {name: regressor.emotions for name, regressor in regressors.items()}
    config = {"design": design.model_dump(), "regressors": outputs}
    files.write_json(out / "config.json", config)


def read(folder: Path) -> tuple[dict[str, Regressor], Scale]:
    """Read what `save` wrote: the regressors, ready to predict, and what scales their frames."""
    config = files.read_json(folder / "config.json")
    tensors = checkpoint.read(folder / "model.safetensors")
    regressors = {}
    for name, emotions in config["regressors"].items():
        regressors[name] = Regressor(Design(**config["design"]), emotions).eval()
        regressors[name].load_state_dict(checkpoint.under(f"{name}/", tensors))
    return regressors, Scale(tensors["scale/mean"], tensors["scale/deviation"])
