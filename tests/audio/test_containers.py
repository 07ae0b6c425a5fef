"""Damage and refused codecs are told from the header, before a decoder sees the file."""

import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import decoding
from pipeline.audio.containers import inspect
from pipeline.audio.recording import Recording, RejectedError
from tests.recordings import record, tone

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


def code_of(path: Path) -> str:
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path)
    return caught.value.code


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".ogg", ".flac", ".mp3"])
def test_no_cut_passes_for_a_whole_file(tmp_path: Path, suffix: str) -> None:
    whole = record(tmp_path / f"a{suffix}", tone(2.0, rate_hz=44_100), 44_100).read_bytes()
    random = np.random.default_rng(0)
    for cut in [1, 11, 12, 43, 44, 60, *random.integers(64, len(whole) - 3, 12)]:
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole[:cut])
        assert code_of(path) in {"truncated", "undecodable", "empty"}, cut


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (LFS, "lfs_pointer"),
        (b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", "undecodable"),
        (b"\x00" * 5_000, "undecodable"),
        (b"fLaC" + b"\x00" * 500, "undecodable"),
        (b"ID3" + b"\x00" * 500, "undecodable"),
    ],
)
def test_what_is_no_audio(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    assert code_of(tmp_path / "a.wav") == code


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac"])
def test_a_header_without_samples_is_empty(tmp_path: Path, suffix: str) -> None:
    assert code_of(record(tmp_path / f"a{suffix}", np.zeros(0, np.float32))) == "empty"


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
def test_adpcm_and_gsm_are_refused_before_decoding(tmp_path: Path, subtype: str) -> None:
    path = record(tmp_path / "a.wav", tone(1.0), subtype=subtype)
    with pytest.raises(RejectedError) as caught:
        inspect(Recording(path))
    assert caught.value.code == "unsupported"


def test_a_codec_hidden_in_the_extensible_format_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav", tone(0.1), format="WAVEX")
    content = bytearray(path.read_bytes())
    at = content.index(b"fmt ") + 8
    assert struct.unpack_from("<H", content, at) == (0xFFFE,)
    inspect(Recording(path))
    struct.pack_into("<H", content, at + 24, 0x0011)
    path.write_bytes(content)
    assert code_of(path) == "unsupported"


def test_two_hours_are_too_long_from_the_header_alone(tmp_path: Path) -> None:
    path = record(tmp_path / "a.wav", tone(1.0))
    content = bytearray(path.read_bytes()[:44])
    size = 2 * 3600 * 32_000
    struct.pack_into("<I", content, 40, size)
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(44 + size)  # sparse: no block is ever read
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path, max_s=600)
    assert caught.value.code == "too_long"
