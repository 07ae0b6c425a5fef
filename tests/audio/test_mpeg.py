"""MP3: the stated number of frames is compared, and a missing one counted."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.audio import decoding
from pipeline.audio.chunks import MORE_BYTES, UNKNOWN_LENGTH
from pipeline.audio.mpeg import frame_bytes
from pipeline.audio.recording import Recording, RejectedError
from tests.recordings import tone

MODES = ("CONSTANT", "AVERAGE", "VARIABLE")
DELAY = 2_500  # samples that an encoder and its last frame add, at most


def encoded(rate_hz: int = 16_000, channels: int = 1, mode: str = "VARIABLE") -> bytes:
    made = io.BytesIO()
    noise = 0.02 * np.random.default_rng(0).standard_normal(5 * rate_hz)
    # Of silence and of sound, so that the bit rate varies.
    wave = np.concatenate([tone(5.0, rate_hz=rate_hz) + noise, 1e-3 * noise])
    with soundfile.SoundFile(
        made, "w", rate_hz, channels, "MPEG_LAYER_III", format="MP3",
        bitrate_mode=mode, compression_level=0.5,
    ) as file:  # fmt: skip
        file.write(np.stack([wave] * channels, 1))
    return made.getvalue()


def frames_of(content: bytes) -> list[bytes]:
    found = []
    while length := frame_bytes(content[:4]):
        found.append(content[:length])
        content = content[length:]
    assert not content
    return found


def numbered(first: bytes, frames: int) -> bytes:
    at = max(first.find(b"Xing"), first.find(b"Info"))
    return first[: at + 8] + frames.to_bytes(4, "big") + first[at + 12 :]


def code_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(RejectedError) as caught:
        decoding.decode(path)
    return caught.value.code


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(8_000, 1), (16_000, 2), (44_100, 1), (48_000, 2), (32_000, 2)]
)
def test_frames_without_their_number_are_counted(
    tmp_path: Path, rate_hz: int, channels: int, mode: str
) -> None:
    path = tmp_path / "a.mp3"
    content = encoded(rate_hz, channels, mode)
    path.write_bytes(content)
    whole, source = decoding.decode(path)
    assert (len(whole), source.note) == (160_000, "")
    bare = b"".join(frames_of(content)[1:])
    tagged = b"ID3\4\0\0\0\0\2\0" + bytes(256) + bare + b"TAG" + bytes(125)
    for headless in (bare, tagged):
        path.write_bytes(headless)
        samples, source = decoding.decode(path)
        assert source.note == UNKNOWN_LENGTH
        assert 0 <= len(samples) - 160_000 < DELAY * 16_000 / rate_hz
        # What the encoder put in front is not known without its header.
        ahead = int(np.correlate(samples[:40_000], whole[:20_000], "valid").argmax())
        assert ahead < DELAY * 16_000 / rate_hz
        np.testing.assert_allclose(samples[ahead + 400 :][:150_000], whole[400:150_400], atol=0.02)


def test_an_unknown_number_is_counted(tmp_path: Path) -> None:
    first, *rest = frames_of(encoded())
    at = first.index(b"Xing")
    for blank in (
        first[: at + 4] + bytes(8) + first[at + 12 :],  # the flag is not set
        numbered(first, 0),
        first[:36] + b"VBRI" + bytes(10) + len(rest).to_bytes(4, "big") + bytes(len(first) - 54),
    ):
        (tmp_path / "a.mp3").write_bytes(b"".join([blank, *rest]))
        assert 0 <= len(decoding.decode(tmp_path / "a.mp3")[0]) - 160_000 < DELAY


@pytest.mark.parametrize("mode", MODES)
def test_frames_that_are_not_there_or_not_stated_are_noticed(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.mp3"
    first, *rest = frames_of(encoded(mode=mode))
    content = b"".join([first, *rest])
    assert code_of(path, b"".join([first, *rest[:100]])) == "truncated"
    assert code_of(path, b"".join([numbered(first, 2 * len(rest)), *rest])) == "truncated"
    assert code_of(path, b"".join([numbered(first, len(rest) // 2), *rest])) == "damaged"
    assert code_of(path, content + content) == "damaged"
    for whole in (content, b"".join(rest)):
        assert code_of(path, whole[:-1]) == "truncated"
        middle = len(first) + sum(map(len, rest[:50]))
        assert code_of(path, whole[:middle] + b"\0" + whole[middle:]) == "damaged"


def test_what_follows_the_last_frame_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    for more, note in ((b"APETAGEX" + bytes(24), ""), (bytes(100), ""), (b"junk" * 9, MORE_BYTES)):
        path.write_bytes(encoded() + more)
        samples, source = decoding.decode(path)
        assert (len(samples), source.note) == (160_000, note)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("order", ["ascending", "any"])
def test_a_part_is_that_of_the_whole_file_bit_for_bit(
    tmp_path: Path, channels: int, order: str
) -> None:
    """Whatever was read before it: overlapping, apart, the same again, up to the end."""
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded(channels=channels))
    whole, _ = decoding.decode(path)
    length_s = len(whole) / 16_000
    parts = [(0.5, 1.0), (0.5, 1.0), (0.9, 1.7), (1.6, 6.0), (7.0, 7.5), (9.0, length_s)]
    if order == "any":
        parts = [parts[n] for n in (4, 1, 5, 0, 3, 2)] + [(0.0, 0.3), (2.0, 2.1)]
    recording = Recording(path)
    for start_s, end_s in parts:
        found, _ = decoding.decode_part(recording, start_s, end_s, 60.0)
        expected = whole[round(start_s * 16_000) : round(end_s * 16_000)]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(decoding.decode(path, start_s, end_s)[0], expected)


def test_each_sample_of_many_parts_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded())
    read, decoded = soundfile.SoundFile.read, []

    def counted(self: soundfile.SoundFile, *args: object, **how: object) -> object:
        found = read(self, *args, **how)
        decoded.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    monkeypatch.setattr(soundfile.SoundFile, "seek", None)
    recording = Recording(path)
    for part in range(1, 90):
        decoding.decode_part(recording, part / 10, part / 10 + 0.25, 60.0)
    assert sum(decoded) == round(9.15 * 16_000)
