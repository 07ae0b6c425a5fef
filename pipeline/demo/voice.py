"""A source-filter voice: what the demo corpus is spoken with, before there is any recording.

The source is the Liljencrants-Fant (LF) derivative of glottal flow, its shape set by Fant's one
parameter Rd (tense 0.4 to lax 2.5), with jitter, shimmer and aspiration noise; the filter is a
cascade of formant resonators that glide from sound to sound; consonants are closures with a
burst, noise in a band, or a murmur. References: Fant, Liljencrants & Lin, "A four-parameter model
of glottal flow", STL-QPSR 4/1985; Fant, "The LF-model revisited", STL-QPSR 2-3/1995; Klatt,
"Software for a cascade/parallel formant synthesizer", JASA 67, 1980; Peterson & Barney, "Control
methods used in a study of the vowels", JASA 24, 1952 (formants of men).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.optimize import brentq
from scipy.signal import butter, sosfilt

RATE_HZ = 44_100
HOP_SAMPLES = 220  # the filter changes every 5 ms

VOWELS_HZ = {
    "i": (270, 2290, 3010),
    "e": (530, 1840, 2480),
    "ae": (660, 1720, 2410),
    "a": (730, 1090, 2440),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
    "er": (490, 1350, 1690),
}
NASALS_HZ = {"m": (250, 1100, 2100), "n": (250, 1600, 2500)}
# Bands of noise: of the friction, and of the burst after a closure.
FRICATIVES_HZ = {"s": (4500, 9500), "sh": (2200, 6500), "f": (1500, 9000)}
STOPS_HZ = {"p": (500, 2500), "t": (3000, 7500), "k": (1200, 3200)}
VOICING = {"vowel": 1.0, "nasal": 0.4}  # the rest is voiceless
CLASSES = ("pause", "vowel", "nasal", "fricative", "stop")

HIGH_FORMANTS_HZ = (3500, 4500, 5500, 6500, 7500)
BANDWIDTHS_HZ = (60, 90, 130, 180, 250, 350, 450, 550)
BURST_S = 0.018

Signal: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Phone:
    """One sound: its class (of `CLASSES`), its symbol and how long it lasts."""

    kind: str
    symbol: str
    duration_s: float


@dataclass(frozen=True)
class Voice:
    """How a speaker phonates in one utterance; jitter, shimmer and breath are relative."""

    tract: float  # formants relative to those of men
    rd: float
    jitter: float
    shimmer: float
    breath: float


def speak(phones: Sequence[Phone], f0_hz: Signal, voice: Voice, rng: np.random.Generator) -> Signal:
    """Synthesise the phones; ``f0_hz`` is the pitch at each of `samples` (phones) samples."""
    lengths = lengths_samples(phones)
    loudness = np.repeat([VOICING.get(phone.kind, 0.0) for phone in phones], lengths)
    source = _smooth(loudness, 0.02) * _phonation(f0_hz, voice, rng)
    return _tract(source, _formants_hz(phones, lengths, voice.tract)) + _noises(
        phones, lengths, rng
    )


def lengths_samples(phones: Sequence[Phone]) -> list[int]:
    """How many samples each phone takes."""
    return [round(phone.duration_s * RATE_HZ) for phone in phones]


def lf_cycle(rd: float, points: int = 1024) -> Signal:
    """One cycle of the LF derivative of glottal flow, of shape (points,), peak -1, mean 0.

    Fant (1995), equations for Ra, Rk and Rg from Rd; the growth of the open phase follows from the
    condition that the flow returns to where it began.
    """
    ra = (-1 + 4.8 * rd) / 100
    rk = (22.4 + 11.8 * rd) / 100
    rg = rk / (4 * (0.11 * rd / (0.5 + 1.2 * rk) - ra))
    peak = 1 / (2 * rg)
    close = peak * (1 + rk)
    decay = float(brentq(lambda e: e * ra - 1 + np.exp(-e * (1 - close)), 0.5 / ra, 2 / ra))
    u = (np.arange(points) + 0.5) / points
    rest = np.exp(-decay * (1 - close))
    closing = -(np.exp(-decay * np.maximum(u - close, 0)) - rest) / (decay * ra)

    def cycle(growth: float) -> Signal:
        rise = np.exp(growth * (u - close)) * np.sin(np.pi * u / peak)
        wave: Signal = np.where(u < close, rise / abs(np.sin(np.pi * close / peak)), closing)
        return wave

    return cycle(float(brentq(lambda growth: cycle(growth).sum(), -100, 200)))


def _phonation(f0_hz: Signal, voice: Voice, rng: np.random.Generator) -> Signal:
    """Glottal pulses whose period and size vary from cycle to cycle, and noise while open."""
    cycle = (np.cumsum(f0_hz) / RATE_HZ).astype(int)
    varied = f0_hz * (1 + voice.jitter * rng.standard_normal(cycle[-1] + 1)[cycle])
    phase = np.cumsum(varied) / RATE_HZ
    cycle = phase.astype(int)
    size = 1 + voice.shimmer * rng.standard_normal(cycle[-1] + 1)[cycle]
    table = lf_cycle(voice.rd)
    pulses: Signal = size * table[((phase % 1) * len(table)).astype(int)]
    open_phase = 0.3 + 0.7 * np.sin(np.pi * (phase % 1)) ** 2
    return pulses + voice.breath * open_phase * rng.standard_normal(len(f0_hz))


def _tract(source: Signal, formants_hz: Signal) -> Signal:
    """Filter by resonators in cascade (Klatt 1980), (frames, formants), with their state kept."""
    radius = np.exp(-np.pi * np.array(BANDWIDTHS_HZ[: formants_hz.shape[1]]) / RATE_HZ)
    sections = np.zeros((*formants_hz.shape, 6))
    sections[..., 3] = 1
    sections[..., 4] = -2 * radius * np.cos(2 * np.pi * formants_hz / RATE_HZ)
    sections[..., 5] = radius**2
    sections[..., 0] = sections[..., 3:].sum(-1)  # unit gain at 0 Hz
    state = np.zeros((formants_hz.shape[1], 2))
    before = sections[0]
    out = np.empty_like(source)
    for frame, sos in enumerate(sections):
        part = slice(frame * HOP_SAMPLES, (frame + 1) * HOP_SAMPLES)
        state = _carry(state, before, sos)
        out[part], state = sosfilt(sos, source[part], zi=state)
        before = sos
    return out


def _carry(state: Signal, before: Signal, after: Signal) -> Signal:
    """The state under new coefficients that keeps each resonator's last two outputs.

    SciPy's state holds outputs times the old coefficients: kept as it is, a gliding formant clicks.
    """
    last = -state[:, 1] / before[:, 5]
    second = -(state[:, 0] + before[:, 4] * last) / before[:, 5]
    return np.stack([-after[:, 4] * last - after[:, 5] * second, -after[:, 5] * last], axis=1)


def _formants_hz(phones: Sequence[Phone], lengths: Sequence[int], tract: float) -> Signal:
    """Formants of each frame, of shape (frames, 8), gliding over 50 ms between sounds."""
    targets: list[tuple[float, ...]] = []
    last: tuple[float, ...] = VOWELS_HZ["er"]
    for phone in phones:
        last = VOWELS_HZ.get(phone.symbol) or NASALS_HZ.get(phone.symbol) or last
        targets.append((*last, *HIGH_FORMANTS_HZ))
    track = np.repeat(np.array(targets), lengths, axis=0)[::HOP_SAMPLES] * tract
    frames = round(0.05 * RATE_HZ / HOP_SAMPLES)
    glided: Signal = uniform_filter1d(track, frames, axis=0, mode="nearest")
    return glided


def _noises(phones: Sequence[Phone], lengths: Sequence[int], rng: np.random.Generator) -> Signal:
    """Friction and bursts, each shaped by its own band."""
    out = np.zeros(sum(lengths))
    ends = np.cumsum(lengths)
    for phone, length, end in zip(phones, lengths, ends, strict=True):
        band = FRICATIVES_HZ.get(phone.symbol) or STOPS_HZ.get(phone.symbol)
        if band:
            size = length if phone.kind == "fricative" else min(length, int(BURST_S * RATE_HZ))
            noise = rng.standard_normal(size) * np.hanning(size + 2)[1:-1]
            out[end - size : end] = 0.25 * sosfilt(
                butter(2, band, "bandpass", fs=RATE_HZ, output="sos"), noise
            )
    return out


def _smooth(track: Signal, window_s: float) -> Signal:
    size = round(window_s * RATE_HZ)
    smooth: Signal = uniform_filter1d(uniform_filter1d(track, size), size)
    return smooth
