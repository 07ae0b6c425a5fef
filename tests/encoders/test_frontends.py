"""Front ends without weights, against librosa and against the formula."""

import sys

import librosa
import numpy as np
import numpy.typing as npt
import pytest
from librosa.filters import mel as librosa_mel

from pipeline.encoders import frontends
from pipeline.encoders.frontends import Fbank, Mfcc, Opensmile, mel_filters, parse, slopes
from pipeline.encoders.layout import HOP_SAMPLES, frame_count
from pipeline.ground.errors import PipelineError

FBANK = {"kind": "fbank", "bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "high_hz": 8000.0}
MFCC = {**FBANK, "kind": "mfcc", "coefficients": 20, "deltas": 0, "every": 1}


def noise(samples: int) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(samples)
    return (0.1 * rng.standard_normal(samples)).astype(np.float32)


def librosa_energies(
    samples: npt.NDArray[np.float32], bands: int, high_hz: float
) -> npt.NDArray[np.float32]:
    mel = librosa.feature.melspectrogram(
        y=samples, sr=16000, n_fft=400, hop_length=160, center=False, n_mels=bands, fmax=high_hz
    )
    energies: npt.NDArray[np.float32] = np.log(mel).T
    return energies


@pytest.mark.parametrize(("bands", "high_hz"), [(40, 8000.0), (23, 4000.0), (12, 900.0)])
def test_filters_are_those_of_librosa(bands: int, high_hz: float) -> None:
    theirs = librosa_mel(sr=16000, n_fft=400, n_mels=bands, fmax=high_hz)
    np.testing.assert_allclose(mel_filters(bands, 400, high_hz), theirs, atol=1e-8)


@pytest.mark.parametrize("samples", [400, 559, 560, 16000, 20001])
def test_fbank_and_mfcc_are_those_of_librosa(samples: int) -> None:
    clip = noise(samples)
    expected = librosa_energies(clip, 40, 8000.0)
    fbank, mfcc = Fbank.model_validate(FBANK), Mfcc.model_validate(MFCC)
    energies = fbank.frames(clip)
    assert energies.shape == (1 + (samples - 400) // 160, fbank.width)
    assert energies.dtype == np.float32
    np.testing.assert_allclose(energies, expected, atol=1e-5)
    theirs = librosa.feature.mfcc(S=expected.T, n_mfcc=20).T
    assert mfcc.width == 20
    np.testing.assert_allclose(mfcc.frames(clip), theirs, atol=1e-4)
    assert fbank.hop_samples == mfcc.hop_samples == 160


def test_a_tone_is_loudest_in_its_band() -> None:
    clip = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32)
    energies = Fbank.model_validate(FBANK).frames(clip)
    bins_hz = np.arange(201) * 40
    centres_hz = (mel_filters(40, 400, 8000.0) @ bins_hz) / mel_filters(40, 400, 8000.0).sum(1)
    nearest = np.abs(centres_hz - 1000).argmin()
    assert set(energies.argmax(1)) == {nearest}


def test_digital_silence_is_finite() -> None:
    assert np.isfinite(Mfcc.model_validate(MFCC).frames(np.zeros(800, np.float32))).all()


def test_a_clip_shorter_than_the_window_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"window_ms is 25.*24\.9 ms"):
        Fbank.model_validate(FBANK).frames(noise(399))


def test_a_config_without_a_front_ends_kind_is_an_encoder() -> None:
    assert parse({"model_type": "hubert"}) is None
    assert parse(FBANK) == Fbank.model_validate(FBANK)


def test_opensmile_names_the_extra_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    frontends._smile.cache_clear()
    smile = Opensmile(kind="opensmile", feature_set="eGeMAPSv02")
    with pytest.raises(PipelineError, match=r"pip install.*opensmile"):
        smile.frames(noise(16000))


@pytest.mark.parametrize("feature_set", ["eGeMAPSv02", "ComParE_2016"])
def test_opensmile_gives_one_frame_of_functionals(feature_set: str) -> None:
    peer = pytest.importorskip("opensmile", reason="the extra opensmile is not installed")
    smile = parse({"kind": "opensmile", "feature_set": feature_set})
    assert isinstance(smile, Opensmile)
    samples = noise(16000)
    expected = peer.Smile(feature_set).process_signal(samples, 16000).to_numpy()
    assert smile.width == expected.shape[1]
    assert smile.hop_samples == 0
    for _ in range(2):  # the extractor is kept, and must not remember
        assert np.array_equal(smile.frames(samples), expected)
        smile.frames(noise(8000))


def test_a_clip_too_short_for_functionals_is_named() -> None:
    pytest.importorskip("opensmile", reason="the extra opensmile is not installed")
    smile = Opensmile(kind="opensmile", feature_set="eGeMAPSv02")
    with pytest.raises(PipelineError, match="25 ms, too short"):
        smile.frames(noise(400))


def test_slopes_are_those_of_librosa() -> None:
    """Least squares over five frames; at the ends librosa fits the frames that there are."""
    frames = np.random.default_rng(3).normal(size=(40, 13)).astype(np.float32)
    theirs = librosa.feature.delta(frames.T, width=5, mode="nearest").T
    np.testing.assert_allclose(slopes(frames), theirs, atol=1e-5)


@pytest.mark.parametrize("samples", [400, 719, 720, 16_000, 16_001, 40_007])
def test_hubert_s_first_features_have_a_frame_for_each_of_the_encoder_s(samples: int) -> None:
    """39 values: 13 cepstra every 20 ms, and slopes taken over frames of 10 ms."""
    clip = np.random.default_rng(4).normal(size=samples).astype(np.float32)
    settings = {**MFCC, "coefficients": 13}
    plain = Mfcc.model_validate(settings).frames(clip)
    found = Mfcc.model_validate({**settings, "deltas": 2, "every": 2})
    made = found.frames(clip)
    assert made.shape == (frame_count(samples), 39) == (frame_count(samples), found.width)
    assert found.hop_samples == HOP_SAMPLES
    np.testing.assert_array_equal(made[:, :13], plain[::2])
    np.testing.assert_array_equal(made[:, 13:26], slopes(plain)[::2])
    np.testing.assert_array_equal(made[:, 26:], slopes(slopes(plain))[::2])
