"""Phones on their way from an alignment to clips and to frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ground.errors import PipelineError
from pipeline.units import phones
from pipeline.units.phones import Phone
from tests.clustered import clip

HEADER = "path,start_s,end_s,class,symbol\n"
TEXT = HEADER + "u.wav,0,1.0,vowel,a\nu.wav,1.0,2.5,nasal,m\nu.wav,2.5,3,pause,\n"


def corpus(folder: Path, text: str) -> Path:
    raw = folder / "raw"
    raw.mkdir()
    (raw / "phones.csv").write_text(text)
    (folder / "demo").mkdir()
    return raw


def test_clips_get_their_part_of_the_phones(tmp_path: Path) -> None:
    whole = replace(clip("u#1", "s"), source="u.wav", duration_s=2.0)
    cut = replace(clip("u#2", "s"), source="u.wav", start_s=2.0, duration_s=0.8)
    child = replace(clip("u~fast", "s"), source="u.wav", augmented_from=whole.clip)
    raw = corpus(tmp_path, TEXT)
    phones.carry_over(raw, [child, cut, whole, clip("other", "s")], tmp_path / "demo")
    assert phones.read(["demo"], tmp_path) == {
        "demo/u#1": [Phone(0.0, 1.0, "vowel"), Phone(1.0, 2.0, "nasal")],
        "demo/u#2": [Phone(0.0, 0.5, "nasal"), Phone(0.5, 0.8, "pause")],
    }


def test_an_alignment_of_a_name_in_another_unicode_form_is_found(tmp_path: Path) -> None:
    made = replace(clip("u", "s"), source="u\u0308.wav", duration_s=2.0)
    raw = corpus(tmp_path, HEADER.replace(",", ";") + "\u00fc.wav;0,5;1,5;vowel;a\n")
    phones.carry_over(raw, [made], tmp_path / "demo")
    assert phones.read(["demo"], tmp_path) == {"demo/u": [Phone(0.5, 1.5, "vowel")]}


def test_without_an_alignment_there_is_nothing(tmp_path: Path) -> None:
    phones.carry_over(tmp_path, [clip("u", "s")], tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert phones.read(["demo"], tmp_path) == {}


@pytest.mark.parametrize(
    "row", ["u.wav,2,3,vowel,a", "u.wav,3,2.8,vowel,a", "u.wav,,3,vowel,a", "u.wav,x,3,vowel,a"]
)
def test_a_malformed_alignment_names_its_line(tmp_path: Path, row: str) -> None:
    raw = corpus(tmp_path, HEADER + "u.wav,1,2.5,nasal,m\n" + row + "\n")
    with pytest.raises(PipelineError, match=r"phones\.csv: line 3: "):
        phones.carry_over(raw, [clip("u", "s")], tmp_path / "demo")


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90))), min_size=1, max_size=4),
    st.integers(0, 60),
)
def test_a_frame_is_of_the_phone_that_its_centre_lies_in(
    durations_ms: list[list[tuple[int, int]]], frames: int
) -> None:
    """Each clip is gaps and phones in turn; a hop is 20 ms and the first centre at 12.5 ms."""
    names = [f"c{i}" for i in range(len(durations_ms))]
    spoken, truth = {}, []
    for name, pairs in zip(names, durations_ms, strict=True):
        edges_ms = np.cumsum([0, *(ms for pair in pairs for ms in pair)])
        spoken[name] = [
            Phone(a / 1000, b / 1000, f"p{i}")
            for i, (a, b) in enumerate(zip(edges_ms[1::2], edges_ms[2::2], strict=True))
        ]
        for centre_ms in np.arange(frames) * 20 + 12.5:
            place = int(np.searchsorted(edges_ms, centre_ms, "right")) - 1
            inside = place % 2 == 1 and place + 1 < len(edges_ms)
            truth.append(f"p{place // 2}" if inside else "")
    offsets = np.arange(len(names) + 1) * frames
    begins, kinds = phones.frames(spoken, names, offsets, 0.02, 0.0125)
    assert (np.diff(begins) >= 0).all()
    rows = np.searchsorted(begins, np.arange(offsets[-1]), "right") - 1
    assert [kinds[row] for row in rows] == truth
