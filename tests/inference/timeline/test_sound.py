"""Recordings of any length and container, against what reads them whole."""

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from pipeline.audio import decoding
from pipeline.audio.recording import RejectedError
from pipeline.audio.segments import speech_part
from pipeline.ground.errors import PipelineError
from pipeline.inference.timeline import reading, sound
from pipeline.inference.timeline.sound import Sound, resampled, speech
from tests.recordings import record, tone


def of(samples: np.ndarray, pieces: int = 3) -> Sound:
    made = Sound()
    for piece in np.array_split(samples, pieces):
        made.append(piece)
    return made


def noise(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0, 1, samples // 100 + 1) ** 6, 100)[:samples]
    return (0.3 * loud * rng.standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("held", [2**26, 100])
def test_what_is_appended_is_read_from_anywhere(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(sound, "HELD_BYTES", held)
    samples = noise(1000)
    made = of(samples)
    assert len(made) == 1000
    for start, stop in ((0, 1000), (3, 4), (990, 2000), (-5, 7), (1000, 1001)):
        assert np.array_equal(made.read(start, stop), samples[max(0, start) : stop])
    assert np.array_equal(np.concatenate(list(made.blocks(77))), samples)
    made.append(samples)
    assert np.array_equal(made.read(990, 1010), np.concatenate([samples[990:], samples[:10]]))


@pytest.mark.parametrize("length", [9601, 14_400, 14_559, 9760, 50_000])
def test_speech_is_found_in_blocks_as_in_the_whole(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(sound, "BLOCK_SAMPLES", 4800)
    samples = noise(length)
    samples[:3000] *= 1e-3
    samples[-4000:] *= 1e-3
    for trim_db in (20.0, 40.0, None):
        assert speech(of(samples), trim_db) == speech_part(samples, trim_db)
    assert speech(of(samples), 20.0) != (0, length)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 44_100, 48_000])
def test_pieces_are_resampled_as_one(rate_hz: int) -> None:
    samples = noise(rate_hz * 3)
    whole = soxr.resample(samples, rate_hz, 16_000, quality="HQ")
    pieces = np.concatenate(list(resampled(np.array_split(samples, 17), rate_hz)))
    assert np.array_equal(pieces, whole)


@pytest.mark.parametrize("how", [{}, {"format": "FLAC"}, {"format": "OGG"}, {"subtype": "FLOAT"}])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("held", [0, 2**24])
def test_blocks_are_the_samples_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, str], channels: int, held: int
) -> None:
    monkeypatch.setattr(reading, "HELD_BYTES", held)
    samples = np.stack([noise(70_000, seed) for seed in range(channels)], 1)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 44_100, **how)
    expected, _ = decoding.decode(path)
    assert np.array_equal(reading.sound_of(path).read(0, 10**6), expected)
    monkeypatch.setattr(reading, "BLOCK_FRAMES", 4096)
    assert np.array_equal(reading.sound_of(path).read(0, 10**6), expected)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_length_that_no_header_tells_is_mended_where_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(reading, "HELD_BYTES", 0)
    path = tmp_path / name
    soundfile.write(path, noise(70_000), 44_100)
    expected, _ = decoding.decode(path)
    piped = bytearray(path.read_bytes())
    if name == "a.wav":  # the length of RIFF and that of its data
        piped[4:8] = piped[40:44] = b"\xff" * 4
    else:  # the number of samples in STREAMINFO
        piped[21:26] = bytes([piped[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(piped)
    assert np.array_equal(reading.sound_of(path).read(0, 10**6), expected)
    assert path.read_bytes() == piped


def test_a_long_file_must_fit_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_FRAMES", 4096)
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(70_000), 44_100)
    content = bytearray(path.read_bytes())
    content[26] ^= 1  # the MD5's first byte
    path.write_bytes(content)
    with pytest.raises(RejectedError, match="damaged, the samples do not fit the MD5"):
        reading.sound_of(path)


@pytest.mark.parametrize("loud", [0.04, 0.06])
def test_scale_is_judged_over_the_whole_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loud: float
) -> None:
    """As in a corpus: a shout beyond full scale is kept, one sample in twenty is not."""
    path = tmp_path / "a.wav"
    samples = np.full(50_000, 0.5, np.float32)
    samples[: round(loud * 50_000)] = 1.5
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    monkeypatch.setattr(reading, "BLOCK_FRAMES", 500)
    for read in (decoding.decode, reading.sound_of):
        if loud < decoding.MAX_BEYOND_SHARE:
            read(path)
        else:
            with pytest.raises(RejectedError, match=r"scale, samples up to 1\.5"):
                read(path)


def ffmpeg(*words: str) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg on the PATH")
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *words], check=True)


LOSSLESS = ["a.mka", "a.caf", "a.au", "a.avi", "a.w64", "a.mkv", "a.wv"]


@pytest.mark.parametrize("name", LOSSLESS)
def test_ffmpeg_gives_what_the_file_holds(tmp_path: Path, name: str) -> None:
    samples = np.stack([noise(50_000, seed) for seed in range(2)], 1)
    soundfile.write(tmp_path / "a.wav", samples, 44_100)
    codec = [] if name == "a.wv" else ["-c:a", "pcm_s16be" if name == "a.au" else "pcm_s16le"]
    video = ["-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=1"] if name == "a.mkv" else []
    ffmpeg("-i", str(tmp_path / "a.wav"), *video, *codec, str(tmp_path / name))
    expected, _ = decoding.decode(tmp_path / "a.wav")
    found = reading.sound_of(tmp_path / name).read(0, 10**6)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.webm", "a.aac", "a.opus", "a.mov"])
def test_lossy_and_video_files_are_read(tmp_path: Path, name: str) -> None:
    record(tmp_path / "a.wav", tone(2.0, 300, 48_000), 48_000)
    video = ["-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=1"]
    added = video if name in ("a.mp4", "a.webm", "a.mov") else []
    codec = "libopus" if name in ("a.webm", "a.opus") else "aac"
    ffmpeg("-i", str(tmp_path / "a.wav"), *added, "-c:a", codec, str(tmp_path / name))
    expected, _ = decoding.decode(tmp_path / "a.wav")
    found = reading.sound_of(tmp_path / name).read(0, 10**6)
    assert abs(len(found) - len(expected)) < 2500
    spectra = [np.abs(np.fft.rfft(one[4000:20_000])) for one in (found, expected)]
    assert spectra[0].argmax() == spectra[1].argmax()


def test_what_is_cut_is_damaged(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", tone(2.0))
    ffmpeg("-i", str(tmp_path / "a.wav"), "-c:a", "pcm_s16le", str(tmp_path / "a.mkv"))
    held = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(held[: len(held) // 2])
    with pytest.raises(RejectedError, match=r"damaged|undecodable"):
        reading.sound_of(tmp_path / "a.mkv")


HEADS = [bytes(at) + magic + bytes(30) for magic, at, _ in reading.DEMUXERS]


@pytest.mark.parametrize("head", HEADS)
def test_without_ffmpeg_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.x").write_bytes(head)
    with pytest.raises(PipelineError, match=r"a\.x: of a format \(\w+\) which ffmpeg reads, but"):
        reading.sound_of(tmp_path / "a.x")


def test_no_playlist_and_no_other_file_is_opened(tmp_path: Path) -> None:
    """Text that names files is no format that ffmpeg is told of."""
    record(tmp_path / "a.wav")
    for text in ("ffconcat version 1.0\nfile a.wav\n", "#EXTM3U\na.wav\n", "v=0\n"):
        (tmp_path / "list").write_text(text)
        with pytest.raises(RejectedError, match="undecodable"):
            reading.sound_of(tmp_path / "list")


def test_a_pipe_is_copied(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav")
    with path.open("rb") as stream:
        copy = reading.spooled(stream, tmp_path)
    assert copy.read_bytes() == path.read_bytes() and copy.parent == tmp_path
    with wave.open(str(copy)) as file:
        assert file.getframerate() == 16_000
