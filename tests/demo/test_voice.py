"""The source-filter voice against what the literature and Fourier say it must sound like."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import find_peaks, welch

from pipeline.demo import voice
from pipeline.demo.voice import HIGH_FORMANTS_HZ, RATE_HZ, VOWELS_HZ, Phone, Voice

STEADY = Voice(tract=1.0, rd=1.0, jitter=0.0, shimmer=0.0, breath=0.0)


def spoken(phones: list[Phone], f0_hz: float = 110.0, of: Voice = STEADY) -> NDArray[np.float64]:
    pitch = np.full(sum(voice.lengths_samples(phones)), f0_hz)
    return voice.speak(phones, pitch, of, np.random.default_rng(0))


@pytest.mark.parametrize("rd", [0.4, 0.7, 1.0, 1.7, 2.5])
def test_flow_returns_and_the_main_excitation_is_minus_one(rd: float) -> None:
    cycle = voice.lf_cycle(rd)
    assert cycle.mean() == pytest.approx(0, abs=1e-9)
    assert cycle.min() == pytest.approx(-1, abs=0.02)
    flow = np.cumsum(cycle)
    assert flow.min() > -0.02 * flow.max()  # air flows out, never in


def test_rd_sets_the_open_quotient_and_the_tilt() -> None:
    cycles = [voice.lf_cycle(rd) for rd in (0.4, 0.8, 1.2, 1.8, 2.5)]
    closures = [int(cycle.argmin()) for cycle in cycles]
    assert closures == sorted(closures)
    # A laxer voice has more of its energy in the first harmonic (Fant 1995).
    spectra = [np.abs(np.fft.rfft(cycle)) for cycle in cycles]
    tilts = [float(spectrum[1] / spectrum[20]) for spectrum in spectra]
    assert tilts == sorted(tilts)


def test_pitch_is_the_one_asked_for() -> None:
    wave = spoken([Phone("vowel", "a", 1.0)], f0_hz=147.0)[4410:]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 4 * RATE_HZ))
    peaks, _ = find_peaks(spectrum, height=0.05 * spectrum.max(), distance=4 * 60)
    assert np.diff(peaks).mean() / 4 == pytest.approx(147.0, rel=0.01)


@pytest.mark.parametrize("tract", [1.0, 1.17])
@pytest.mark.parametrize("vowel", ["i", "a", "u", "er"])
def test_formants_are_where_the_table_says(vowel: str, tract: float) -> None:
    impulse = np.zeros(RATE_HZ // 2)
    impulse[0] = 1.0
    frames = -(-len(impulse) // voice.HOP_SAMPLES)
    targets = np.array([*VOWELS_HZ[vowel], *HIGH_FORMANTS_HZ]) * tract
    spectrum = np.abs(np.fft.rfft(voice._tract(impulse, np.tile(targets, (frames, 1)))))
    for formant_hz in targets[:3]:
        near = slice(int(formant_hz / 2 * 0.9), int(formant_hz / 2 * 1.1))  # bins of 2 Hz
        found_hz = 2 * (near.start + int(spectrum[near].argmax()))
        assert found_hz == pytest.approx(formant_hz, rel=0.05)


def test_a_gliding_tract_equals_the_recursion_on_past_outputs() -> None:
    """y[n] = a x[n] + b y[n-1] + c y[n-2], coefficients by frame: Klatt (1980), equation 1."""
    rng = np.random.default_rng(0)
    wave = source = rng.standard_normal(3 * voice.HOP_SAMPLES)
    formants = np.array([[300.0, 1000.0], [340.0, 1200.0], [400.0, 900.0]])
    for number, bandwidth in enumerate(voice.BANDWIDTHS_HZ[:2]):
        out = np.zeros(len(wave) + 2)
        c = -np.exp(-2 * np.pi * bandwidth / RATE_HZ)
        for n, x in enumerate(wave):
            angle = 2 * np.pi * formants[n // voice.HOP_SAMPLES, number] / RATE_HZ
            b = 2 * np.sqrt(-c) * np.cos(angle)
            out[n + 2] = (1 - b - c) * x + b * out[n + 1] + c * out[n]
        wave = out[2:]
    assert np.allclose(voice._tract(source, formants), wave, rtol=1e-9, atol=1e-12)


def test_friction_is_high_and_pauses_are_silent() -> None:
    wave = spoken([Phone("pause", "", 0.2), Phone("fricative", "s", 0.3), Phone("pause", "", 0.2)])
    assert np.abs(wave[: int(0.19 * RATE_HZ)]).max() < 1e-9
    frequencies, power = welch(wave, RATE_HZ, nperseg=1024)
    assert 4000 < (frequencies * power).sum() / power.sum() < 10_000


def test_jitter_and_shimmer_and_breath_disturb_the_periods() -> None:
    phones = [Phone("vowel", "a", 0.5)]
    period = RATE_HZ // 100

    def irregularity(of: Voice) -> float:
        cycles = spoken(phones, RATE_HZ / period, of)[4410 : 4410 + 30 * period]
        cycles = cycles.reshape(30, period)
        return float(cycles.std(0).mean() / cycles.std())

    calm = irregularity(STEADY)
    for changed in ({"jitter": 0.03}, {"shimmer": 0.1}, {"breath": 0.2}):
        disturbed = irregularity(Voice(**{**STEADY.__dict__, **changed}))
        assert disturbed > calm + 0.02, changed
