"""Decoding against librosa and by hand; clips round-trip; damage is told apart by code."""

import hashlib
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from pipeline.audio import decoding, flac, formats
from pipeline.audio.recording import RejectedError
from pipeline.ground.errors import PipelineError
from tests.recordings import record, tone


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_414, 44_100, 48_000, 96_000])
def test_resampling_is_bit_identical_to_librosas_soxr_hq(tmp_path: Path, rate_hz: int) -> None:
    path = record(tmp_path / "a.wav", tone(0.731, rate_hz=rate_hz), rate_hz)
    ours, source = decoding.decode(path)
    theirs, _ = librosa.load(path, sr=16_000, res_type="soxr_hq")
    # librosa rounds the length up and pads with a zero.
    assert 0 <= len(theirs) - len(ours) <= 1
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs[: len(ours)])
    assert (source.sample_rate_hz, source.channels) == (rate_hz, 1)


def test_real_recordings_decode_as_librosa_does(corpora_root: Path) -> None:
    folder = corpora_root / "ravdess-48khz"
    for path in sorted(folder.rglob("*.wav"))[::6]:
        ours, _ = decoding.decode(path)
        theirs, _ = librosa.load(path, sr=16_000, res_type="soxr_hq")
        np.testing.assert_array_equal(ours, theirs[: len(ours)])


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate_hz"),
    [
        (".wav", "PCM_16", 8_000),
        (".wav", "PCM_24", 96_000),
        (".wav", "ULAW", 8_000),
        (".wav", "FLOAT", 44_100),
        (".aiff", "PCM_16", 44_100),
        (".flac", "PCM_24", 48_000),
        (".ogg", "VORBIS", 44_100),
        (".opus", "OPUS", 48_000),
        (".mp3", "MPEG_LAYER_III", 44_100),
    ],
)
def test_every_container_keeps_length_and_pitch(
    tmp_path: Path, suffix: str, subtype: str, rate_hz: int
) -> None:
    container = {".opus": "OGG"}.get(suffix, suffix[1:].upper())
    stereo = np.stack([tone(1.0, 440, rate_hz)] * 2, axis=1)
    path = record(tmp_path / f"a{suffix}", stereo, rate_hz, subtype=subtype, format=container)
    samples, source = decoding.decode(path)
    assert source.channels == 2
    assert len(samples) == pytest.approx(16_000, abs=16_000 * 0.08)  # MP3 pads its frames
    peak_hz = np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples)
    assert peak_hz == pytest.approx(440, abs=2)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_integer_samples_are_those_of_libsndfile(
    tmp_path: Path, container: str, subtype: str
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    samples[:2] = -1.0, 1.0
    path = record(tmp_path / "a.wav", samples, subtype=subtype, format=container)
    expected, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(decoding.decode(path)[0], expected)


def test_an_aiff_named_wav_is_read_by_its_content(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav", format="AIFF")
    assert len(decoding.decode(path)[0]) == 8_000


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(0.1, 200), tone(0.1, 300)
    path = record(tmp_path / "a.wav", np.stack([left, right], 1), subtype="FLOAT")
    np.testing.assert_allclose(decoding.decode(path)[0], (left + right) / 2, atol=1e-7)


def test_a_part_is_what_lies_between_its_times(tmp_path: Path) -> None:
    whole = tone(1.0)
    path = record(tmp_path / "a.wav", whole, subtype="FLOAT")
    samples, _ = decoding.decode(path, 0.25, 0.5)
    np.testing.assert_array_equal(samples, whole[4_000:8_000])
    # Annotations are rounded: a little over the end is the end.
    assert len(decoding.decode(path, 0.5, 1.005)[0]) == 8_000


@pytest.mark.parametrize(("start_s", "end_s"), [(2.0, None), (0.0, 1.5), (0.5, 0.5), (0.6, 0.2)])
def test_a_part_beyond_the_file_is_outside(
    tmp_path: Path, start_s: float, end_s: float | None
) -> None:
    path = record(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path, start_s, end_s)
    assert caught.value.code == "outside"


def test_the_clipped_share_counts_samples_at_full_scale(tmp_path: Path) -> None:
    samples = np.full(1_000, 0.5, np.float32)
    samples[:50], samples[50:100] = 1.0, -1.0
    path = record(tmp_path / "a.wav", samples)
    assert decoding.decode(path)[1].clipped == pytest.approx(0.1)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "RF64"])
@pytest.mark.parametrize(
    ("full_scale", "divisor", "subtype"),
    [
        (127, 2**15, "FLOAT"),  # or quiet speech of 16 bits
        (32_767, 2**15, "FLOAT"),
        (32_767, 2**15, "DOUBLE"),
        (8_388_607, 2**23, "FLOAT"),
        (2**31, 2**31, "DOUBLE"),
    ],
)
def test_floats_in_the_range_of_integers_are_rejected_with_the_divisor(
    tmp_path: Path, full_scale: int, divisor: int, subtype: str, container: str
) -> None:
    samples = tone(1.0, level=0.7) * full_scale
    path = record(tmp_path / "a.wav", samples, subtype=subtype, format=container)
    with pytest.raises(RejectedError, match=f"divide them by {divisor} ") as caught:
        decoding.decode(path)
    assert caught.value.code == "scale"


def test_a_quiet_part_among_integers_is_rejected_too(tmp_path: Path) -> None:
    quiet = np.random.default_rng(0).integers(-3, 4, 16_000).astype(np.float32)
    with pytest.raises(RejectedError) as caught:
        decoding.decode(record(tmp_path / "a.wav", quiet, subtype="FLOAT"))
    assert caught.value.code == "scale"


def test_a_little_above_full_scale_is_clipped_and_counted(tmp_path: Path) -> None:
    samples = tone(1.0)
    samples[:160] = 1.25
    path = record(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert decoding.decode(path)[1].clipped == pytest.approx(0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_bad_number_rejects_the_file(tmp_path: Path, value: float) -> None:
    samples = tone(0.5)
    samples[1234] = value
    with pytest.raises(RejectedError) as caught:
        decoding.decode(record(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert caught.value.code == "nonfinite"


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(16_000, np.float32), "silent"),
        (np.full(16_000, 0.4, np.float32), "silent"),
        (np.full(16_000, -1.0, np.float32), "silent"),
        (tone(1.0, level=1e-4), "silent"),
        (tone(160 / 16_000), "too_short"),
        (tone(399 / 16_000), "too_short"),
    ],
)
def test_what_holds_no_speech_is_rejected(samples: formats.Samples, code: str) -> None:
    with pytest.raises(RejectedError) as caught:
        decoding.require_speech(Path("a.wav"), samples)
    assert caught.value.code == code


def test_one_frame_of_quiet_speech_passes() -> None:
    decoding.require_speech(Path("a.wav"), tone(400 / 16_000))
    quiet = np.concatenate([np.zeros(32_000, np.float32), tone(0.05, level=0.002)])
    decoding.require_speech(Path("a.wav"), quiet)


def test_sixteen_bit_samples_pass_through_a_clip_without_loss(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).integers(-32768, 32768, 5_000).astype("<i2")
    pcm[:2] = -32768, 32767
    checksum = flac.write_flac(tmp_path / "a.flac", (pcm / np.float32(32768)).astype(np.float32))
    assert checksum == hashlib.sha256(pcm.tobytes()).hexdigest()
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.flac", dtype="int16")[0], pcm)
    np.testing.assert_array_equal(flac.read_clip(tmp_path / "a.flac") * 32768, pcm)


def test_samples_beyond_full_scale_are_limited_not_wrapped(tmp_path: Path) -> None:
    flac.write_flac(tmp_path / "a.flac", np.array([1.5, -1.5, 0.0], np.float32))
    read = flac.read_clip(tmp_path / "a.flac")
    assert read.tolist() == [32767 / 32768, -1.0, 0.0]


def test_a_clip_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        flac.write_flac(tmp_path / f"{name}.flac", tone(0.7))
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_every_flipped_bit_of_a_clip_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    flac.write_flac(path, tone(0.5))
    good, clean = path.read_bytes(), flac.read_clip(path)
    random = np.random.default_rng(0)
    for at in random.integers(0, 8 * len(good), 60):
        bad = bytearray(good)
        bad[at // 8] ^= 1 << at % 8
        path.write_bytes(bad)
        try:
            read = flac.read_clip(path)
        except PipelineError:
            continue
        # Metadata that no sample depends on may change unnoticed; samples may not.
        np.testing.assert_array_equal(read, clean)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_only_mono_16_khz_is_a_clip(tmp_path: Path, rate_hz: int) -> None:
    samples = np.stack([tone(0.1)] * 2, 1) if rate_hz == 16_000 else tone(0.1)
    path = record(tmp_path / "a.flac", samples, rate_hz)
    with pytest.raises(PipelineError, match="mono at 16 kHz"):
        flac.read_clip(path)


def test_a_missing_clip_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"no such file, run `dvc repro`"):
        flac.read_clip(tmp_path / "none.flac")
