"""A source that others write to while it is read: its bytes and its checksum stay together."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import decoding, recording
from pipeline.audio.recording import Recording, RejectedError
from pipeline.ground.errors import PipelineError
from tests.recordings import record, tone


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("how", ["replaced", "written to", "removed"])
def test_what_is_decoded_is_what_was_hashed(tmp_path: Path, how: str) -> None:
    path, other = record(tmp_path / "a.wav", tone(0.5)), record(tmp_path / "b.wav", tone(0.4, 330))
    expected, told = decoding.decode(path)[0], sha256(path)
    opened = Recording(path)
    if how == "replaced":
        other.replace(path)
    elif how == "written to":
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()
    samples, _ = decoding.decode_part(opened, 0.0, None, 10.0)
    assert opened.sha256 == told
    np.testing.assert_array_equal(samples, expected)
    opened.require_unchanged()


@pytest.mark.parametrize("how", ["replaced", "written to", "removed"])
def test_a_file_too_large_to_hold_must_stay_as_it_is(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "HELD_BYTES", 1_000)
    path = record(tmp_path / "a.wav", tone(0.5))
    expected, told = decoding.decode(path)[0], sha256(path)
    opened = Recording(path)
    samples, _ = decoding.decode_part(opened, 0.0, None, 10.0)
    np.testing.assert_array_equal(samples, expected)
    assert opened.sha256 == told
    opened.require_unchanged()
    if how == "replaced":
        record(tmp_path / "b.wav", tone(0.5, 330)).replace(path)
    elif how == "written to":
        with path.open("r+b") as file:
            file.write(b"RIFX")
    else:
        path.unlink()
    with pytest.raises(PipelineError, match=r"a\.wav: changed while it was read"):
        opened.require_unchanged()


@pytest.mark.parametrize("held_bytes", [0, recording.HELD_BYTES])
def test_a_header_is_mended_in_memory_alone(
    tmp_path: Path, held_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "HELD_BYTES", held_bytes)
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    told = sha256(path)
    opened = Recording(path)
    opened.mend(3, b"xy")
    assert opened.read(0, 99) == b"012xy56789"
    opened.mend(1, b"longer", 2)
    assert (opened.read(0, 99), opened.size) == (b"0longerxy56789", 14)
    with opened.anew() as again:
        assert again.read() == b"0longerxy56789"
    assert path.read_bytes() == b"0123456789"
    assert opened.sha256 == told


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(RejectedError, match="undecodable, not a file"):
        Recording(path)
    with pytest.raises(FileNotFoundError):
        Recording(tmp_path / "none.wav")
