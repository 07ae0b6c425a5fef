"""Ogg: every flipped bit is noticed, and a stream that was not closed is read whole."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import decoding
from pipeline.audio.chunks import MORE_BYTES
from pipeline.audio.ogg import NO_END, checksum
from pipeline.audio.recording import RejectedError
from tests.recordings import record, tone

CODECS = ("VORBIS", "OPUS")


def slow_checksum(page: bytes | bytearray) -> bytes:
    """RFC 3533, 6: a remainder by 0x04C11DB7, bit by bit, the field itself as zeros."""
    crc = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return struct.pack("<I", crc)


def pages(path: Path, codec: str) -> list[bytearray]:
    """The pages of six seconds of sound."""
    noise = 0.05 * np.random.default_rng(0).standard_normal(96_000).astype(np.float32)
    content = record(path, tone(6.0) + noise, format="OGG", subtype=codec).read_bytes()
    starts = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    return [bytearray(content[a:b]) for a, b in zip(starts, [*starts[1:], None], strict=True)]


def sealed(page: bytearray, at: int = 0, value: bytes = b"") -> bytearray:
    """The page with other bytes at ``at``, and the checksum that fits."""
    page[at : at + len(value)] = value
    page[22:26] = slow_checksum(page)
    return page


def code_of(path: Path, content: list[bytearray] | bytes | bytearray) -> str:
    path.write_bytes(b"".join(content) if isinstance(content, list) else content)
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path)
    return caught.value.code


@pytest.mark.parametrize("codec", CODECS)
def test_the_checksum_is_that_of_the_standard_and_of_libogg(tmp_path: Path, codec: str) -> None:
    for page in pages(tmp_path / "a.ogg", codec):
        assert checksum(page) == slow_checksum(page) == page[22:26]


@pytest.mark.parametrize("codec", CODECS)
def test_no_flipped_bit_passes(tmp_path: Path, codec: str) -> None:
    content = b"".join(pages(tmp_path / "a.ogg", codec))
    for at in np.random.default_rng(0).integers(0, 8 * len(content), 100):
        bad = bytearray(content)
        bad[at // 8] ^= 1 << at % 8
        assert code_of(tmp_path / "a.ogg", bytes(bad)) in {"damaged", "truncated", "undecodable"}


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_without_its_end_flag_is_read_whole(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.ogg"
    found = pages(path, codec)
    expected = decoding.decode(path)[0]
    sealed(found[-1], 5, b"\0")
    path.write_bytes(b"".join(found) + bytes(100))  # and room that a phone had set aside
    samples, source = decoding.decode(path)
    np.testing.assert_array_equal(samples, expected)
    assert len(samples) == 96_000 and source.note == NO_END


@pytest.mark.parametrize("codec", CODECS)
def test_a_page_that_is_gone_or_lies_is_noticed(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "a.ogg"
    found = pages(path, codec)
    assert code_of(path, found[:3] + found[4:]) == "damaged"
    (granule,) = struct.unpack_from("<q", found[-1], 6)
    half = sealed(bytearray(found[-1]), 6, struct.pack("<q", granule // 2))
    assert code_of(path, [*found[:-1], half]) == "damaged"
    double = sealed(bytearray(found[-1]), 6, struct.pack("<q", 2 * granule))
    assert code_of(path, [*found[:-1], double]) == "truncated"
    assert code_of(path, b"".join(found)[:-1]) == "truncated"
    unclosed = [*found[:-1], sealed(bytearray(found[-1]), 5, b"\0")]
    assert code_of(path, b"".join(unclosed) + b"OggS") == "truncated"
    assert code_of(path, b"".join(unclosed) + b"junk") == "truncated"


def test_what_follows_the_end_is_told(tmp_path: Path) -> None:
    content = b"".join(pages(tmp_path / "a.ogg", "VORBIS"))
    (tmp_path / "a.ogg").write_bytes(content + b"junk")
    samples, source = decoding.decode(tmp_path / "a.ogg")
    assert (len(samples), source.note) == (96_000, MORE_BYTES)


@pytest.mark.parametrize("codec", CODECS)
def test_a_chain_of_streams_is_not_read_in_part(tmp_path: Path, codec: str) -> None:
    content = b"".join(pages(tmp_path / "a.ogg", codec))
    assert code_of(tmp_path / "a.ogg", content + content) == "unsupported"


def test_a_page_without_the_end_of_a_packet_has_no_time(tmp_path: Path) -> None:
    # 8 channels of noise: a packet of one block spans pages.
    noise = np.random.default_rng(0).uniform(-1, 1, (48_000, 8)).astype(np.float32)
    path = record(tmp_path / "a.ogg", noise, 48_000, subtype="VORBIS")
    expected, _ = soundfile.read(path, dtype="float32")
    assert len(decoding.decode(path)[0]) == len(expected) // 3
