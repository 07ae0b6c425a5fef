"""Recordings of any container: what is refused before it fills the memory."""

import shutil
import struct
from pathlib import Path

import pytest

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.recording import Recording, RejectedError
from pipeline.inference.timeline import reading
from pipeline.inference.timeline.sound import Sound

# A second for each of half a million samples: 8,000 million of them at 16 kHz.
FORM = struct.pack("<HHIIHH", 1, 1, 1, 2, 2, 16)
SLOW_WAVE = b"RIFF\xff\xff\x10\0WAVEfmt \x10\0\0\0" + FORM + b"data" + struct.pack("<I", 2**20)
SLOW_AU = struct.pack(">4sIIIII", b".snd", 24, 2**20, 3, 1, 1)


@pytest.mark.parametrize(("name", "head"), [("a.wav", SLOW_WAVE), ("a.au", SLOW_AU)])
def test_days_at_a_slow_rate_are_too_long_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, head: bytes
) -> None:
    held = []

    class Counted(Sound):
        def append(self, samples: Samples) -> None:
            held.append(len(samples))
            super().append(samples)

    monkeypatch.setattr(reading, "Sound", Counted)
    path = tmp_path / name
    path.write_bytes(head + b"\x10\x10\xf0\xf0" * 2**18)
    with pytest.raises(RejectedError, match="too_long, more than 150 s of audio") as error:
        reading.sound_of(path, 150.0)
    assert error.value.code == "too_long"
    assert max(held, default=0) <= reading.BLOCK_S * SAMPLE_RATE_HZ
    assert sum(held) <= 150 * SAMPLE_RATE_HZ


def test_blocks_of_a_slow_rate_are_short(tmp_path: Path) -> None:
    """Without a limit, too, no more than a minute is in memory at once."""
    (tmp_path / "a.wav").write_bytes(SLOW_WAVE + b"\x10\x10\xf0\xf0" * 2**18)
    blocks = reading._blocks(Recording(tmp_path / "a.wav"), float("inf"))
    assert len(next(blocks)) <= reading.BLOCK_S * SAMPLE_RATE_HZ
    blocks.close()


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg here")
def test_what_ffmpeg_says_has_no_place_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(1000))
    with pytest.raises(RejectedError, match="undecodable, ffmpeg: 0x00 at pos 4"):
        reading.sound_of(tmp_path / "a.mkv")
