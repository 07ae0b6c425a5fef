"""FLAC: the header against the frames, and the samples against their MD5."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import decoding
from pipeline.audio.chunks import UNKNOWN_LENGTH
from pipeline.audio.recording import RejectedError
from tests.recordings import record, tone

TOTAL, MD5 = slice(21, 26), slice(26, 42)
SECONDS = 2.0
SAMPLES = 32_000


def with_total(content: bytes | bytearray, samples: int) -> bytearray:
    """The file with another number of samples in STREAMINFO, 36 bits at bit 4 of byte 21."""
    changed = bytearray(content)
    changed[TOTAL] = ((content[21] >> 4 << 36) + samples).to_bytes(5, "big")
    return changed


def refusal(path: Path, content: bytes | bytearray) -> tuple[str, str]:
    path.write_bytes(content)
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path)
    return caught.value.code, caught.value.detail


@pytest.mark.parametrize("md5", [True, False])
@pytest.mark.parametrize(
    ("samples", "channels", "subtype"),
    [
        (SAMPLES, 1, "PCM_16"),
        (SAMPLES, 2, "PCM_24"),
        (SAMPLES, 1, "PCM_S8"),
        (4_096 * 3, 1, "PCM_16"),  # the last frame is as long as the others
        (4_097, 1, "PCM_16"),
        (300, 1, "PCM_16"),
        (600_000, 1, "PCM_16"),  # numbers of frames of two bytes
        (9_000_000, 1, "PCM_16"),  # and of three
    ],
)
def test_a_length_that_the_writer_could_not_know_is_read_whole(
    tmp_path: Path, samples: int, channels: int, subtype: str, md5: bool
) -> None:
    path = tmp_path / "a.flac"
    wave = tone(samples / 16_000)
    record(path, np.stack([wave] * channels, 1), subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0]
    assert decoding.decode(path)[1].note == ""
    piped = with_total(path.read_bytes(), 0)
    if not md5:
        piped[MD5] = bytes(16)
    path.write_bytes(piped)
    found, source = decoding.decode(path)
    np.testing.assert_array_equal(found, expected[:, 0])
    assert source.note == UNKNOWN_LENGTH
    np.testing.assert_array_equal(decoding.decode(path, 0.01, 0.015)[0], expected[160:240, 0])


@pytest.mark.parametrize("md5", [True, False])
def test_a_header_that_declares_other_samples_is_noticed(tmp_path: Path, md5: bool) -> None:
    path = tmp_path / "a.flac"
    content = bytearray(record(path, tone(SECONDS)).read_bytes())
    if not md5:
        content[MD5] = bytes(16)
    for declared, code in ((SAMPLES // 2, "damaged"), (1, "damaged"), (2 * SAMPLES, "truncated")):
        told = f"FLAC frames of {SAMPLES} samples, the header declares {declared}"
        assert refusal(path, with_total(content, declared)) == (code, told)


def test_a_part_of_such_a_file_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(with_total(record(path, tone(SECONDS)).read_bytes(), SAMPLES // 2))
    with pytest.raises(RejectedError, match="damaged"):
        decoding.decode(path, 0.25, 0.5)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_samples_that_do_not_fit_their_md5_are_damaged(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "a.flac"
    stereo = np.stack([tone(SECONDS), tone(SECONDS, 330)], 1)
    content = bytearray(record(path, stereo, subtype=subtype).read_bytes())
    decoding.decode(path)
    content[MD5.start] ^= 1
    assert refusal(path, content)[0] == "damaged"


def test_no_cut_of_a_file_without_a_length_passes(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES).astype(np.float32)
    content = with_total(record(path, noise).read_bytes(), 0)
    for cut in np.random.default_rng(1).integers(43, len(content) - 1, 20):
        assert refusal(path, content[:cut])[0] in {"truncated", "undecodable"}


def test_a_tag_in_front_is_no_part_of_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    content = record(path, tone(SECONDS)).read_bytes()
    tag = b"ID3\4\0\0\0\0\1\5" + bytes(133)
    for stream, note in ((content, ""), (with_total(content, 0), UNKNOWN_LENGTH)):
        path.write_bytes(tag + stream)
        samples, source = decoding.decode(path)
        assert (len(samples), source.note) == (SAMPLES, note)
    path.write_bytes(tag + with_total(content, 0)[: -len(content) // 2])
    with pytest.raises(RejectedError, match="truncated"):
        decoding.decode(path)
