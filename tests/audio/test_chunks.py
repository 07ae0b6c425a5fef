"""WAV, RF64 and AIFF: the length that a header states is held, and a missing one made good."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import decoding
from pipeline.audio.chunks import MORE_BYTES, UNKNOWN_LENGTH
from pipeline.audio.formats import Samples
from pipeline.audio.recording import RejectedError
from tests.recordings import record, tone

SAMPLES = 8_000
FORMATS = {"WAV": (b"data", "<"), "RF64": (b"data", "<"), "AIFF": (b"SSND", ">")}


def recorded(path: Path, container: str) -> bytearray:
    return bytearray(record(path, tone(SAMPLES / 16_000), format=container).read_bytes())


def with_length(content: bytearray, container: str, length: int) -> bytearray:
    """The file with another length of its audio in its header, in bytes."""
    name, order = FORMATS[container]
    if container == "RF64":
        struct.pack_into("<Q", content, content.index(b"ds64") + 16, length)
    else:
        struct.pack_into(f"{order}I", content, content.index(name) + 4, length)
    return content


def whole(content: bytes | bytearray) -> Samples:
    """What libsndfile makes of an intact file."""
    samples: Samples = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    return samples


@pytest.mark.parametrize("container", FORMATS)
def test_a_promise_that_the_file_breaks_is_truncated(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.wav"
    content = recorded(path, container)
    for length in (len(content), 2**20, 2**30, 3 * 2**30):
        path.write_bytes(with_length(content, container, length))
        with pytest.raises(RejectedError, match=f"the header says {length}") as caught:
            decoding.decode(path)
        assert caught.value.code == "truncated"
    path.write_bytes(recorded(path, container)[:-1_000])
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path)
    assert caught.value.code == "truncated"


def test_a_promise_beyond_32_bits_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(with_length(recorded(path, "RF64"), "RF64", 2**33))
    with pytest.raises(RejectedError, match="the header says 8589934592"):
        decoding.decode(path)


@pytest.mark.parametrize(
    ("container", "length"),
    [
        ("WAV", 0),  # a killed recorder
        ("WAV", 0x7FFFF000),  # SoX into a pipe
        ("WAV", 0x7FFFFFFF - 36),
        ("WAV", 0x80000000),  # arecord
        ("WAV", 0xFFFFFFFF),  # ffmpeg into a pipe
        ("WAV", 0xFFFFFFFF - 36),
        ("RF64", 0),
        ("RF64", 2**63 - 1),
        ("RF64", 2**64 - 1),
        ("AIFF", 0),
        ("AIFF", 8),
        ("AIFF", 0x7F000000 + 8),  # SoX into a pipe
        ("AIFF", 0xFFFFFFFF),
    ],
)
def test_a_length_that_the_writer_could_not_know_is_read_to_the_end(
    tmp_path: Path, container: str, length: int
) -> None:
    path = tmp_path / "a.wav"
    content = recorded(path, container)
    expected = whole(content)
    path.write_bytes(with_length(content, container, length))
    samples, source = decoding.decode(path)
    np.testing.assert_array_equal(samples, expected)
    assert source.note == UNKNOWN_LENGTH
    # A part, too.
    np.testing.assert_array_equal(decoding.decode(path, 0.25, 0.375)[0], expected[4_000:6_000])


@pytest.mark.parametrize("container", FORMATS)
def test_an_intact_file_has_no_note(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.wav"
    recorded(path, container)
    assert decoding.decode(path)[1].note == ""


def test_a_list_after_no_samples_is_no_audio(tmp_path: Path) -> None:
    content = bytearray(record(tmp_path / "a.wav", tone(0.0)).read_bytes())
    content += b"LIST" + struct.pack("<I", 4_000) + b"INFO" + bytes(3_996)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(RejectedError) as caught:
        decoding.decode(tmp_path / "a.wav")
    assert caught.value.code == "empty"


@pytest.mark.parametrize("container", ["WAV", "RF64"])
def test_audio_beyond_the_stated_length_is_told(tmp_path: Path, container: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(with_length(recorded(path, container), container, SAMPLES + 8))
    samples, source = decoding.decode(path)
    assert source.note == MORE_BYTES
    assert abs(len(samples) - SAMPLES / 2) <= 4
    if container == "WAV":  # chunks and zeros are no audio
        content = recorded(path, container)
        path.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO" + bytes(9))
        assert decoding.decode(path)[1].note == ""


def test_aiff_promises_its_frames_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = recorded(path, "AIFF")
    struct.pack_into(">I", content, content.index(b"COMM") + 10, 2 * SAMPLES)
    path.write_bytes(content)
    with pytest.raises(RejectedError, match="16000 bytes of audio, the header says 32000"):
        decoding.decode(path)


def test_an_odd_chunk_without_its_pad_byte_is_named(tmp_path: Path) -> None:
    content = record(tmp_path / "a.wav").read_bytes()
    odd = content[:36] + b"LIST" + struct.pack("<I", 13) + b"INFOabcdefghi"
    (tmp_path / "a.wav").write_bytes(odd + b"\0" + content[36:])
    assert len(decoding.decode(tmp_path / "a.wav")[0]) == 8_000
    (tmp_path / "a.wav").write_bytes(odd + content[36:])
    with pytest.raises(RejectedError, match="chunk 'LIST' has 13 bytes and no pad byte"):
        decoding.decode(tmp_path / "a.wav")


def test_bw64_is_named(tmp_path: Path) -> None:
    content = recorded(tmp_path / "a.wav", "RF64")
    (tmp_path / "a.wav").write_bytes(b"BW64" + content[4:])
    with pytest.raises(RejectedError, match="unsupported, BW64, convert it"):
        decoding.decode(tmp_path / "a.wav")
