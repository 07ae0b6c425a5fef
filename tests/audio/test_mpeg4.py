"""MPEG-4 audio by way of ffmpeg: a stand-in shows the way, the real one the sound where it is."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.decoding import decode, decode_part
from pipeline.audio.recording import Recording, RejectedError
from pipeline.ground.errors import PipelineError
from tests.recordings import record, tone

HEAD = b"\0\0\0\x1cftypM4A "


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that begins as MPEG-4 does, and nothing on the PATH but the shell's tools."""
    path = tmp_path / "-a: b.m4a"  # no option, and no protocol of ffmpeg's
    path.write_bytes(HEAD + bytes(200))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    (tmp_path / "bin").mkdir()
    return path


def stand_in(folder: Path, script: str) -> None:
    """An ``ffmpeg`` that does what the script says."""
    (folder / "bin/ffmpeg").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/ffmpeg").chmod(0o755)


def test_what_ffmpeg_writes_is_what_is_decoded(clip: Path, tmp_path: Path) -> None:
    expected = tone(0.5)
    sound = record(tmp_path / "sound.wav", expected, format="WAV", subtype="FLOAT")
    piped = bytearray(sound.read_bytes())
    at = piped.index(b"data") + 4
    piped[at : at + 4] = b"\xff\xff\xff\xff"  # as a stream's header has it
    sound.write_bytes(piped)
    stand_in(tmp_path, f'echo "$@" > {tmp_path}/told\ncat {sound}')
    recording = Recording(clip)
    samples, source = decode_part(recording, 0.0, None, 60.0)
    assert np.array_equal(samples, expected)
    assert (source.sample_rate_hz, source.note) == (16_000, "")
    assert recording.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert f"-i file:{clip} -map 0:a:0" in (tmp_path / "told").read_text()


@pytest.mark.parametrize(
    ("script", "code", "detail"),
    [
        ("echo '[in#0 @ 0x5f] moov atom not found' >&2; exit 1", "undecodable", "ffmpeg: moov at"),
        ("exit 0", "undecodable", "ffmpeg: no reason given"),
        ("echo RIFF; echo 'partial file' >&2", "damaged", "ffmpeg: partial file"),
    ],
)
def test_what_ffmpeg_complains_of_is_rejected(
    clip: Path, tmp_path: Path, script: str, code: str, detail: str
) -> None:
    stand_in(tmp_path, script)
    with pytest.raises(RejectedError) as caught:
        decode(clip)
    assert caught.value.code == code
    assert caught.value.detail.startswith(detail)


def test_without_ffmpeg_nothing_is_rejected_but_said(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(PipelineError, match="MPEG-4, which ffmpeg reads") as caught:
        decode(clip)
    assert not isinstance(caught.value, RejectedError)


def test_a_file_that_changes_meanwhile_is_not_taken(clip: Path, tmp_path: Path) -> None:
    stand_in(tmp_path, f"echo more >> '{clip}'; echo RIFF")
    with pytest.raises(PipelineError, match="changed while it was read"):
        decode(clip)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
@pytest.mark.parametrize("name", ["a.mp4", "a.m4a"])
def test_a_tone_comes_through(tmp_path: Path, name: str) -> None:
    sound = record(tmp_path / "a.wav", tone(2.0, rate_hz=44_100), 44_100)
    video = ["-f", "lavfi", "-i", "testsrc=d=2:s=64x64"] if name == "a.mp4" else []
    command = ["ffmpeg", "-v", "error", *video, "-i", str(sound), "-c:a", "aac"]
    subprocess.run([*command, str(tmp_path / name)], check=True)
    samples, source = decode(tmp_path / name)
    expected = tone(2.0)
    assert source.sample_rate_hz == 44_100
    assert abs(len(samples) - len(expected)) <= 1_024
    shared = slice(2_000, 30_000)
    assert np.corrcoef(samples[shared], expected[shared])[0, 1] > 0.99
    with (tmp_path / name).open("rb+") as file:
        file.truncate(file.seek(0, 2) // 2)
    with pytest.raises(RejectedError):
        decode(tmp_path / name)
