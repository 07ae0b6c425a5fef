"""Each format, read by another program: Praat itself, a reader of ELAN's files, csv, json."""

import csv
import io
import json
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.inference.timeline.formats import FORMATS
from pipeline.inference.timeline.opinions import Heard, Opinion

CLASSES = ["angry", "sad"]
NAME = 'a "b"\t<c> & d.wav'


def opinion(start_s: float, end_s: float, sad: float, speaker: str = "") -> Opinion:
    return Opinion(start_s, end_s, {"angry": 1 - sad, "sad": sad}, speaker=speaker)


TALK = Heard(
    Path(NAME),
    opinion(0.5, 7.25, 0.4),
    [
        opinion(0.5, 2.0, 0.9, 'An "na" <x>'),
        opinion(1.75, 3.0, 0.2, "ben"),
        opinion(3.0, 5.125, 0.3, 'An "na" <x>'),
        opinion(3.0, 7.25, 0.6, "ben"),
    ],
    8.0,
)
OVERLAPPING = [opinion(n / 2, n / 2 + 1, 0.8) for n in range(5)]
WINDOWS = Heard(Path("w.wav"), opinion(0, 3, 0.1), OVERLAPPING, 3.0)


def written(heard: Heard, name: str) -> str:
    form = FORMATS[name]
    parts = form.header(["emotion", *CLASSES]), form.text(heard, CLASSES)
    return "".join(f"{part}\n" for part in parts if part)


def of_speaker(speaker: str) -> list[tuple[float, float, str]]:
    return [(one.start_s, one.end_s, one.label) for one in TALK.clips if one.speaker == speaker]


def test_a_table() -> None:
    header, whole, *parts = (row.split("\t") for row in written(TALK, "table").splitlines())
    assert header == ["file", "start_s", "end_s", "emotion", "angry", "sad"]
    assert whole == [NAME.replace("\t", "\\t"), "0.50", "7.25", "angry", "0.600", "0.400"]
    assert [row[0] for row in parts] == [one.speaker for one in TALK.clips]
    assert parts[0][1:] == ["0.50", "2.00", "sad", "0.100", "0.900"]


def test_json_lines() -> None:
    (line,) = written(TALK, "json").splitlines()
    told = json.loads(line)
    assert told["file"] == NAME and told["emotion"] == "angry"
    assert [one["speaker"] for one in told["clips"]] == [one.speaker for one in TALK.clips]
    assert told["clips"][0]["probabilities"] == {"angry": pytest.approx(0.1), "sad": 0.9}


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(written(TALK, "csv"))))
    assert [row["file"] for row in rows] == [NAME] * 4
    told = [(float(r["start_s"]), float(r["end_s"]), r["speaker"], r["emotion"]) for r in rows]
    assert told == [(c.start_s, c.end_s, c.speaker, c.label) for c in TALK.clips]
    assert float(rows[0]["sad"]) == 0.9


def test_audacity() -> None:
    rows = [row.split("\t") for row in written(TALK, "audacity").splitlines()]
    assert [(float(a), float(b), c) for a, b, c in rows] == [
        (one.start_s, one.end_s, f"{one.speaker}: {one.label}") for one in TALK.clips
    ]


def test_praat_reads_its_textgrid(tmp_path: Path) -> None:
    parselmouth = pytest.importorskip("parselmouth")
    for heard in (TALK, WINDOWS):
        (tmp_path / "a.TextGrid").write_text(written(heard, "textgrid"), "utf-8")
        grid = parselmouth.read(str(tmp_path / "a.TextGrid"))
        assert grid.xmax == heard.duration_s
        call = parselmouth.praat.call
        found = []
        for tier in range(1, call(grid, "Get number of tiers") + 1):
            name, end_s = call(grid, "Get tier name", tier), 0.0
            for place in range(1, call(grid, "Get number of intervals", tier) + 1):
                label = call(grid, "Get label of interval", tier, place)
                start_s = call(grid, "Get start time of interval", tier, place)
                assert start_s == end_s  # no gap
                end_s = call(grid, "Get end time of interval", tier, place)
                found += [(start_s, end_s, name, label)] if label else []
            assert end_s == heard.duration_s
        expected = [(one.start_s, one.end_s, one.label) for one in heard.clips]
        assert sorted((a, b, d) for a, b, _, d in found) == sorted(expected)
        if heard is TALK:
            for speaker in ('An "na" <x>', "ben"):
                own = [(a, b, d) for a, b, name, d in found if name == speaker]
                assert own == of_speaker(speaker)
        else:
            assert {name for _, _, name, _ in found} == {"emotion", "emotion 2"}


def test_elan_is_read_by_a_reader_of_its_files(tmp_path: Path) -> None:
    pympi = pytest.importorskip("pympi")
    (tmp_path / "a.eaf").write_text(written(TALK, "elan"), "utf-8")
    document = pympi.Elan.Eaf(str(tmp_path / "a.eaf"))
    assert set(document.get_tier_names()) == {'An "na" <x>', "ben"}
    for speaker in document.get_tier_names():
        found = sorted(document.get_annotation_data_for_tier(speaker))
        expected = of_speaker(speaker)
        assert [(a / 1000, b / 1000, label) for a, b, label, *_ in found] == expected
    (tmp_path / "w.eaf").write_text(written(WINDOWS, "elan"), "utf-8")
    document = pympi.Elan.Eaf(str(tmp_path / "w.eaf"))
    assert document.get_tier_names() and len(document.timeslots) == 10
    for tier in document.get_tier_names():
        spans = sorted(document.get_annotation_data_for_tier(tier))
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_a_file_of_one_clip_is_one_row() -> None:
    one = Heard(Path("a.wav"), opinion(0, 1, 0.7), [opinion(0, 1, 0.7)], 1.0)
    assert len(written(one, "table").splitlines()) == 2
    assert len(written(one, "csv").splitlines()) == 2


def test_values_have_no_label() -> None:
    values = {"arousal": 3.25, "valence": 2.0}
    one = Opinion(0.0, 1.0, {}, values)
    heard, names = Heard(Path("a.wav"), one, [one, one], 1.0), list(values)
    for name in ("table", "csv"):
        form = FORMATS[name]
        header, *rows = f"{form.header(names)}\n{form.text(heard, names)}".splitlines()
        assert "emotion" not in header
        mark = "\t" if name == "table" else ","
        assert {row.count(mark) for row in rows} == {header.count(mark)}
        assert float(rows[0].split(mark)[-2]) == 3.25
    told = json.loads(FORMATS["json"].text(heard, names))
    assert told["values"] == values and "emotion" not in told
    label = FORMATS["audacity"].text(heard, names).splitlines()[0].split("\t")[2]
    assert label == "arousal 3.25 valence 2.00"


def test_what_is_not_confident_is_unsure() -> None:
    assert Opinion(0, 1, {"angry": 0.4, "sad": 0.6}, least=0.7).label == "unsure"
    assert Opinion(0, 1, {"angry": 0.4, "sad": 0.6}, least=0.6).label == "sad"
