"""Augmentation against librosa and by what it must do to a signal."""

import numpy as np
import pytest
from librosa.effects import pitch_shift as librosa_pitch_shift
from librosa.effects import time_stretch as librosa_time_stretch

from pipeline.audio.augmentation import (
    Augmentation,
    Noise,
    Pitch,
    Stretch,
    add_noise,
    augmented,
    pitch_shift,
    time_stretch,
)
from pipeline.audio.formats import Samples
from tests.recordings import tone


@pytest.fixture
def voice() -> Samples:
    """A buzz of wavering pitch between digital silences, with a breath of noise."""
    time_s = np.arange(24_000) / 16_000
    phase = 2 * np.pi * (140 * time_s + 3 * np.sin(2 * np.pi * 2 * time_s))
    buzz = sum(np.sin(h * phase) / h for h in range(1, 20))
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(time_s))
    wave = 0.2 * (np.asarray(buzz) + noise)
    wave[:4_000] = wave[-3_000:] = 0
    return wave.astype(np.float32)


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 16_000 / len(samples))


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.1, 1.7])
def test_time_stretch_is_librosas(voice: Samples, rate: float) -> None:
    ours, theirs = time_stretch(voice, rate), librosa_time_stretch(voice, rate=rate)
    assert ours.dtype == np.float32 and len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, atol=0.005 * np.abs(theirs).max())


@pytest.mark.parametrize("semitones", [-4.0, -0.5, 3.0])
def test_pitch_shift_is_librosas(voice: Samples, semitones: float) -> None:
    theirs = librosa_pitch_shift(voice, sr=16_000, n_steps=semitones, res_type="soxr_hq")
    ours = pitch_shift(voice, semitones)
    assert len(ours) == len(voice)
    np.testing.assert_allclose(ours, theirs, atol=0.005 * np.abs(theirs).max())


def test_stretch_keeps_pitch_and_pitch_keeps_length() -> None:
    note = tone(1.0, 300)
    assert pitch_hz(time_stretch(note, 0.8)) == pytest.approx(300, abs=3)
    assert len(time_stretch(note, 0.8)) == 20_000
    assert pitch_hz(pitch_shift(note, 12)) == pytest.approx(600, abs=5)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_asked_ratio(voice: Samples, snr_db: float) -> None:
    noise = add_noise(voice, snr_db, np.random.default_rng(1)).astype(float) - voice
    ratio = 10 * np.log10(np.sum(voice.astype(float) ** 2) / np.sum(noise**2))
    assert ratio == pytest.approx(snr_db, abs=1e-3)


@pytest.mark.parametrize("samples", [400, 401, 2_047])
def test_the_shortest_clips_can_be_augmented(samples: int) -> None:
    short = tone(samples / 16_000)
    assert len(pitch_shift(short, 2.0)) == samples
    assert len(time_stretch(short, 0.9)) == round(samples / 0.9)
    assert np.isfinite(pitch_shift(short, -2.0)).all()


def test_each_clip_draws_its_own_strength_and_always_the_same(voice: Samples) -> None:
    kinds: tuple[Augmentation, ...] = (
        Pitch(kind="pitch", name="p", low=-2.0, high=2.0),
        Stretch(kind="stretch", name="s", low=0.8, high=1.2),
        Noise(kind="noise", name="n", low=10.0, high=20.0),
    )
    for kind in kinds:
        once, again = (augmented(kind, voice, 1, "a") for _ in range(2))
        np.testing.assert_array_equal(once, again)
        others = [augmented(kind, voice, 1, "b"), augmented(kind, voice, 2, "a")]
        assert not any(np.array_equal(once, other) for other in others)
