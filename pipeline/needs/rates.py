"""How fast things go: every rate that an estimate of time rests on, with where it was measured.

Rates of a CPU are of one process on one core of the machine that README.md names, those of a GPU of
one H200 (docs/gpu.md). Others differ: an estimate is a range from half to double.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.ground.stage import runtime

Kind = Literal["cpu", "gpu"]
NVIDIA = Path("/dev/nvidiactl")  # there where a driver is; asking torch takes a second


@dataclass(frozen=True)
class Rate:
    """How much of something a second, and where that comes from."""

    a_second: float
    origin: str


# Operations a second of a forward pass, of training (whose backward pass counts twice), of small
# networks on cached frames; of k-means frames x width x centroids; of logistic regression
# utterances x width x classes x strengths; of the others seconds of audio.
RATES: Mapping[str, Mapping[Kind, Rate]] = {
    "encode": {
        "cpu": Rate(7.0e10, "hubert-base shape, fp32: 5.5 s of audio a second, EPYC"),
        "gpu": Rate(2.5e14, "docs/gpu.md: base to block -3, fp16, 20,600 s a second"),
    },
    "encode-fp32": {
        "cpu": Rate(7.0e10, "as encode"),
        "gpu": Rate(1.9e13, "the same card: base, fp32, 1,600 s a second, before packing"),
    },
    "train": {
        "cpu": Rate(6.0e10, "hubert-base shape, fp32, frozen front end: 2.0 s a second, EPYC"),
        "gpu": Rate(4.0e13, "docs/gpu.md: base, bf16, 1,300 s a second"),
    },
    "network": {
        "cpu": Rate(5.0e10, "acted shares (docs/emotion-share.md) 3e10, published widths 9e10"),
        "gpu": Rate(4.7e12, "docs/gpu.md: share, 1,250 clips, nine regressors in 16.7 s"),
    },
    "k-means": {
        "cpu": Rate(5.9e10, "README.md: 10^6 frames of 768, 4,672 centroids in 61 s"),
        "gpu": Rate(1.5e12, "docs/gpu.md: the same in 2.4 s"),
    },
    "head": {
        "cpu": Rate(3.6e3, "README.md: an epoch on cached means, 1,759 times the encoder's"),
        "gpu": Rate(3.6e3, "as on a CPU: not measured"),
    },
    "front end": {
        "cpu": Rate(6.0e3, "fbank: 40 bands, EPYC"),
        "gpu": Rate(6.0e3, "runs on the CPU"),
    },
    "store": {
        "cpu": Rate(5.0e8, "bytes into HDF5 with checksums: EPYC"),
        "gpu": Rate(5.0e8, "as on a CPU: its host"),
    },
    "decode": {
        "cpu": Rate(1.7e3, "RAVDESS, 48 kHz, to FLAC: EPYC"),
        "gpu": Rate(1.7e3, "runs on the CPU"),
    },
    "augment": {
        "cpu": Rate(7.0e2, "pitch shift: EPYC"),
        "gpu": Rate(7.0e2, "runs on the CPU"),
    },
    "linear": {
        "cpu": Rate(1.0e8, "1,000 vectors of 1,536, 8 classes: EPYC"),
        "gpu": Rate(1.0e8, "runs on the CPU"),
    },
}
STAGE_S = 3.0  # of a stage that does nothing else: README.md, its imports and DVC's
RANGE = 2.0  # an estimate is right within this factor, where the machine is alike


def kind() -> Kind:
    """Where the stages run by ``runtime.device``: on a GPU where a driver is."""
    device = runtime().device
    return "gpu" if device.startswith("cuda") or (device == "auto" and NVIDIA.exists()) else "cpu"


def seconds(what: str, amount: float, kind: Kind) -> float:
    """How long an amount takes in one process."""
    return amount / RATES[what][kind].a_second


def processes() -> int:
    """How many decode and embed at the same time."""
    return max(1, min(runtime().workers, os.cpu_count() or 1))
