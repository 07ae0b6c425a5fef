"""Each perturbation against what it is called: measured ratios, bands, decays, lengths, rates."""

import io
import itertools

import numpy as np
import pytest
import soundfile
from pydantic import TypeAdapter, ValidationError
from scipy.signal import welch

from pipeline.audio.formats import MIN_SAMPLES, Samples
from pipeline.audio.perturb import channel, room
from pipeline.audio.perturb.conditions import Condition, words
from pipeline.audio.perturb.perturbing import perturbed
from tests.recordings import tone

ALL = [
    *(f"{kind}-{snr}" for kind in ("babble", "noise") for snr in (20, 10, 0)),
    *("telephone", "reverb-300", "reverb-800", "quieter-20", "louder-12", "mp3-32"),
    *("speed-90", "speed-110"),
]
VOICE = tone(1.3, 180) + tone(1.3, 1_700, level=0.1)
OTHERS = [tone(0.4 + n / 5, 200 + 90 * n, level=0.01 * 4**n) for n in range(5)]


def heard(condition: str, samples: Samples = VOICE, seed: int = 0) -> Samples:
    return perturbed(condition, samples, OTHERS, np.random.default_rng(seed))


def power_db(samples: Samples) -> float:
    return float(10 * np.log10(np.square(samples, dtype=np.float64).mean()))


def energy(samples: Samples, low_hz: float, high_hz: float) -> float:
    hz, density = welch(samples, 16_000, nperseg=4096)
    return float(density[(hz >= low_hz) & (hz <= high_hz)].sum())


@pytest.mark.parametrize("snr", [20, 10, 0])
@pytest.mark.parametrize("kind", ["babble", "noise"])
def test_the_ratio_of_signal_to_noise_is_as_named(kind: str, snr: int) -> None:
    added = heard(f"{kind}-{snr}") - VOICE
    assert power_db(VOICE) - power_db(added) == pytest.approx(snr, abs=0.01)


def test_white_noise_is_as_loud_in_every_band() -> None:
    added = heard("noise-0", np.tile(VOICE, 10)) - np.tile(VOICE, 10)
    bands = [energy(added, low + 1, low + 1999) for low in range(0, 8000, 2000)]
    assert max(bands) < 1.15 * min(bands)


def test_all_voices_babble_alike() -> None:
    """However loud or long they are: each is there at its own pitch, within a factor of two."""
    added = heard("babble-0", np.tile(VOICE, 4)) - np.tile(VOICE, 4)
    each = [energy(added, hz - 30, hz + 30) for hz in (200 + 90 * n for n in range(len(OTHERS)))]
    assert max(each) < 2 * min(each)
    assert sum(each) > 0.95 * energy(added, 0, 8000)


def test_a_telephone_passes_its_band_alone() -> None:
    noise = np.random.default_rng(0).standard_normal(160_000).astype(np.float32)
    passed = channel.telephone(noise)
    assert len(passed) == len(noise)
    # Within: as it was, but for the flanks. Without: 30 dB less at least.
    assert energy(passed, 500, 3000) == pytest.approx(energy(noise, 500, 3000), rel=0.03)
    for low, high in ((0, 180), (4000, 8000)):
        assert energy(passed, low, high) < 1e-3 * energy(noise, low, high)
    # 3 dB down at both ends of the band.
    for edge in (300, 3400):
        kept = energy(passed, edge - 15, edge + 15) / energy(noise, edge - 15, edge + 15)
        assert 0.35 < kept < 0.65


@pytest.mark.parametrize("rt60_s", [0.3, 0.8])
def test_a_room_rings_as_long_as_it_says(rt60_s: float) -> None:
    """By Schroeder's backward integration, from -5 to -25 dB (ISO 3382: T20)."""
    measured = []
    for seed in range(20):
        found = room.response(rt60_s, np.random.default_rng(seed)).astype(np.float64)
        left_db = 10 * np.log10(np.cumsum(found[::-1] ** 2)[::-1] / (found**2).sum() + 1e-12)
        fit = (left_db < -5) & (left_db > -25)
        slope, _ = np.polyfit(np.arange(len(found))[fit] / 16_000, left_db[fit], 1)
        measured.append(-60 / slope)
        direct, tail = found[0] ** 2, (found[1:] ** 2).sum()
        assert 10 * np.log10(direct / tail) == pytest.approx(0, abs=0.01)
    assert np.mean(measured) == pytest.approx(rt60_s, rel=0.03)


def test_a_room_is_its_response_convolved_and_as_loud_as_before() -> None:
    found = heard("reverb-300", VOICE, 5)
    kernel = room.response(0.3, np.random.default_rng(5))
    wet = np.convolve(VOICE.astype(np.float64), kernel)[: len(VOICE)]
    assert power_db(found) == pytest.approx(power_db(VOICE), abs=0.01)
    assert np.corrcoef(wet, found)[0, 1] > 0.999999


@pytest.mark.parametrize(("condition", "db"), [("quieter-20", -20), ("louder-12", 12)])
def test_a_gain_is_that_of_its_name(condition: str, db: float) -> None:
    assert np.allclose(heard(condition), VOICE * 10 ** (db / 20), rtol=1e-5)


@pytest.mark.parametrize(("percent", "factor"), [(90, 0.9), (110, 1.1), (200, 2.0)])
def test_speed_changes_length_and_pitch_alike(percent: int, factor: float) -> None:
    plain = tone(2.0, 440)
    played = heard(f"speed-{percent}", plain)
    assert len(played) == round(len(plain) / factor)
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert spectrum.argmax() * 16_000 / len(played) == pytest.approx(440 * factor, rel=0.005)


# ISO 13818-3, table of Layer III: kbit/s by the index in a frame's header.
KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@pytest.mark.parametrize("kbps", [16, 32, 40, 64, 160])
def test_an_mp3_has_its_bit_rate_and_no_delay(kbps: int) -> None:
    voice = VOICE + 0.02 * np.random.default_rng(0).standard_normal(len(VOICE)).astype(np.float32)
    encoded = channel.mp3_bytes(voice, kbps)
    assert encoded[0] == 0xFF
    assert KBPS[encoded[2] >> 4] == kbps
    # Some frames more than the clip is long: what the encoder looks ahead, and a header.
    assert len(encoded) * 8 / 1000 / (len(voice) / 16_000) == pytest.approx(kbps, rel=0.15)
    assert soundfile.info(io.BytesIO(encoded)).samplerate == 16_000
    decoded = heard(f"mp3-{kbps}", voice)
    assert len(decoded) == len(voice)
    shifted = [np.corrcoef(voice[50:-50], np.roll(decoded, n)[50:-50])[0, 1] for n in range(-5, 6)]
    assert int(np.argmax(shifted)) == 5
    assert not np.array_equal(decoded, voice)


@pytest.mark.parametrize("condition", ALL)
def test_every_condition_is_known_finite_and_the_same_twice(condition: str) -> None:
    assert TypeAdapter(Condition).validate_python(condition) == condition
    for samples in (VOICE, VOICE[:MIN_SAMPLES], np.zeros(8_000, np.float32)):
        found = heard(condition, samples)
        assert found.dtype == np.float32
        assert len(found) >= MIN_SAMPLES
        assert np.isfinite(found).all()
        assert np.array_equal(found, heard(condition, samples))
    assert not np.array_equal(heard(condition), VOICE)
    assert words(condition)


def test_what_is_drawn_follows_the_seed() -> None:
    for condition in ("babble-0", "noise-0", "reverb-300"):
        one, other = (heard(condition, VOICE, seed) for seed in (0, 1))
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "name",
    [
        "clean",
        "babble",
        "noise--5",
        "noise-100",
        "telephone-8",
        "reverb-20",
        "mp3-33",
        "mp3-8",
        "speed-20",
        "speed-201",
        "louder",
        "echo-3",
    ],
)
def test_no_other_name_is_a_condition(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Condition).validate_python(name)


def test_conditions_say_different_things() -> None:
    said = [words(name) for name in ALL]
    assert all(one != other for one, other in itertools.combinations(said, 2))
