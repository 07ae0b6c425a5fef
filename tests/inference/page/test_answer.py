"""What an answer holds: the words, the recording itself, and what `ser predict` would write."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import soundfile

from pipeline.inference.page import answer
from pipeline.inference.page.answer import Style
from pipeline.inference.timeline.formats import FORMATS
from pipeline.inference.timeline.opinions import Heard, Opinion
from tests.inference.page.markup import parsed
from tests.recordings import tone

CLASSES = ["angry", "sad"]
ANGRY = Opinion(0.0, 1.0, {"angry": 0.75, "sad": 0.25})
SAD = Opinion(1.0, 1.5, {"angry": 0.4, "sad": 0.6})
WHOLE = Opinion(0.0, 1.5, {"angry": 0.6, "sad": 0.4})
HEARD = Heard(Path("talk.wav"), WHOLE, [ANGRY, SAD], 1.5)
SAMPLES = tone(1.5)


def answered(html: str) -> ET.Element:
    (made,) = parsed(html)
    return made


def links(tree: ET.Element) -> dict[str, str]:
    return {
        a.attrib["download"]: base64.b64decode(a.attrib["href"].split(",")[1]).decode()
        for a in tree.iter("a")
    }


def test_downloads_are_what_predict_writes() -> None:
    found = links(answered(answer.recording(HEARD, SAMPLES, Style(CLASSES))))
    assert json.loads(found["talk.wav.json"]) == json.loads(FORMATS["json"].text(HEARD, CLASSES))
    assert found["talk.wav.csv"].splitlines() == [
        "file,start_s,end_s,speaker,emotion,angry,sad",
        "talk.wav,0.000,1.000,,angry,0.750000,0.250000",
        "talk.wav,1.000,1.500,,sad,0.400000,0.600000",
    ]


def test_what_is_played_is_what_was_heard() -> None:
    (audio,) = answered(answer.recording(HEARD, SAMPLES, Style(CLASSES))).iter("audio")
    assert audio.attrib["aria-label"] == "talk.wav"
    kind, content = audio.attrib["src"].split(";base64,")
    assert kind == "data:audio/flac"
    played, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(content)))
    assert rate_hz == 16_000
    np.testing.assert_allclose(played, SAMPLES, atol=1 / 32768)


def test_each_segment_has_a_button_with_a_name_and_its_seconds() -> None:
    tree = answered(answer.recording(HEARD, SAMPLES, Style(CLASSES)))
    assert [button.attrib["aria-label"] for button in tree.iter("button")] == [
        "Play segment 1, 0.00 to 1.00 s, angry",
        "Play segment 2, 1.00 to 1.50 s, sad",
    ]
    rows = [row.attrib for row in tree.iter("tr") if "data-start" in row.attrib]
    assert [(row["data-start"], row["data-end"]) for row in rows] == [
        ("0.0", "1.0"),
        ("1.0", "1.5"),
    ]
    assert tree.attrib["data-said"] == "angry, 60%"


def test_dimensions_have_a_point_for_each_segment() -> None:
    low = Opinion(0.0, 1.0, {}, {"arousal": 1.0, "valence": 1.0})
    high = Opinion(1.0, 1.5, {}, {"arousal": 7.0, "valence": 7.0})
    heard = Heard(Path("talk.wav"), low, [low, high], 1.5)
    tree = answered(answer.recording(heard, SAMPLES, Style(["arousal", "valence"], (1, 7))))
    rows = [row.attrib for row in tree.iter("tr") if "data-start" in row.attrib]
    assert [(row["data-x"], row["data-y"]) for row in rows] == [
        ("34.0", "274.0"),
        ("274.0", "34.0"),
    ]
    assert links(tree)["talk.wav.csv"].splitlines()[0] == (
        "file,start_s,end_s,speaker,arousal,valence"
    )
    assert tree.attrib["data-said"] == "arousal 1.00 valence 1.00"


def test_no_name_is_taken_for_markup() -> None:
    """Of a file, a class or a note: a model and a recording may be a stranger's."""
    evil = '"><img src=x onerror=alert(1)>'
    whole = Opinion(0.0, 1.5, {evil: 0.6, "sad": 0.4})
    heard = Heard(Path(f"a{evil.replace('/', '')}.wav"), whole, [whole], 1.5)
    for html in (
        answer.recording(heard, SAMPLES, Style([evil, "sad"], note=evil)),
        answer.stream([whole], Style([evil, "sad"], note=evil)),
        answer.problem(f"{evil}: bad"),
    ):
        tree = answered(html)
        assert not list(tree.iter("img"))
        assert "onerror" not in {name for element in tree.iter() for name in element.attrib}


def test_a_problem_is_one_line_and_told() -> None:
    tree = answered(answer.problem("a.wav: empty,\n no  samples"))
    assert (tree.text, tree.attrib["role"]) == ("a.wav: empty, no samples", "alert")
    assert tree.attrib["data-said"] == tree.text


def test_of_a_stream_each_second_is_drawn_once() -> None:
    windows = [Opinion(max(0, end - 4), end, {"angry": 0.5, "sad": 0.5}) for end in range(1, 8)]
    names = re.findall(
        r'data-start="([\d.]+)" data-end="([\d.]+)"', answer.stream(windows, Style(CLASSES))
    )
    assert [(float(a), float(b)) for a, b in names] == [(end - 1, end) for end in range(1, 8)]


def test_what_is_long_ago_is_forgotten() -> None:
    opinions = [Opinion(end - 1.0, end, {"angry": 1.0}) for end in map(float, range(1, 100))]
    assert [one.end_s for one in answer.recent(opinions)] == list(map(float, range(70, 100)))
