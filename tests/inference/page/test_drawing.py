"""Pictures whose places and heights are known by hand."""

import re

import numpy as np
import pytest

from pipeline.inference.page import drawing
from pipeline.inference.timeline.opinions import Opinion
from tests.inference.page.markup import parsed

ANGRY = Opinion(0.0, 1.0, {"angry": 0.75, "sad": 0.25})
SAD = Opinion(1.0, 4.0, {"angry": 0.4, "sad": 0.6})
CALM = Opinion(0.0, 2.0, {}, {"arousal": 1.0, "valence": 4.0})
LOUD = Opinion(2.0, 4.0, {}, {"arousal": 7.0, "valence": 2.5})


@pytest.mark.parametrize("length", [1, 5, 600, 601, 50_000])
def test_the_outline_holds_every_sample(length: int) -> None:
    samples = np.random.default_rng(0).normal(size=length).astype(np.float32)
    found = drawing.envelope(samples)
    assert len(found) == min(600, length)
    parts = np.array_split(samples, len(found)) if length <= 600 else None
    if parts:
        np.testing.assert_array_equal(found[:, 0], [part.min() for part in parts])
    assert found[:, 0].min() == samples.min()
    assert found[:, 1].max() == samples.max()
    assert (found[:, 0] <= found[:, 1]).all()


def test_a_peak_lies_where_it_is_and_fills_the_height() -> None:
    samples = np.zeros(6000, np.float32)
    samples[3000] = -0.5
    (path,) = parsed(drawing.waveform(drawing.envelope(samples), 6.0)).iter("path")
    points = [tuple(map(float, pair.split())) for pair in path.attrib["d"].strip("MZ ").split("L")]
    assert max(points, key=lambda point: point[1]) == (300, 98)
    assert {y for x, y in points if x != 300} == {50}


def test_silence_is_a_line() -> None:
    (path,) = parsed(drawing.waveform(drawing.envelope(np.zeros(9, np.float32)), 1)).iter("path")
    assert re.findall(r"\d+ (\d+\.\d)", path.attrib["d"]) == ["50.0"] * 18


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 3), [0, 1, 2, 3]),
        ((0, 0.4), [0, 0.1, 0.2, 0.3, 0.4]),
        ((0, 7.48), [0, 2, 4, 6]),
        ((25, 55), [30, 40, 50]),
        ((0, 300), [0, 60, 120, 180, 240, 300]),
    ],
)
def test_an_axis_has_few_round_times(span: tuple[float, float], expected: list[float]) -> None:
    assert drawing.ticks(span) == expected


def test_each_opinion_has_its_width_and_each_class_its_height() -> None:
    shades = drawing.colours(["angry", "sad"])
    tree = parsed(drawing.timeline([ANGRY, SAD], (0, 4), shades, (0, 1)))
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in tree.iter("rect")
    ]
    assert boxes == [(0, 0, 250, 75), (0, 75, 250, 25), (250, 0, 750, 40), (250, 40, 750, 60)]
    named = [span for span in tree.iter("span") if span.attrib.get("class", "")[:8] == "ser-name"]
    assert ["".join(span.itertext()) for span in named] == ["angry", "sad"]
    assert [span.attrib["style"] for span in named] == [
        "left:0.00%;width:25.00%",
        "left:25.00%;width:75.00%",
    ]
    assert [span.attrib["data-start"] for span in named] == ["0.0", "1.0"]


def test_dimensions_are_lines_between_the_ends_of_their_scale() -> None:
    shades = drawing.colours(["arousal", "valence"])
    tree = parsed(drawing.timeline([CALM, LOUD], (0, 4), shades, (1, 7)))
    lines = [path.attrib["d"] for path in tree.iter("path")]
    assert lines == ["M0.0 97.0 H500.0 M500.0 3.0 H1000.0", "M0.0 50.0 H500.0 M500.0 73.5 H1000.0"]


def test_the_point_lies_by_valence_across_and_arousal_up() -> None:
    tree = parsed(drawing.square([CALM, LOUD], (1, 7), LOUD))
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]))
        for dot in tree.iter("circle")
        if dot.attrib["class"] == "ser-dot"
    ]
    assert dots == [(154, 274), (94, 34)]
    (svg,) = tree.iter("svg")
    assert svg.attrib["aria-label"] == (
        "Arousal and valence: arousal 7.00, valence 2.50, each from 1 to 7"
    )
    (point,) = [one for one in tree.iter("circle") if one.attrib["class"] == "ser-point"]
    assert point.attrib["style"] == "cx:94.0px;cy:34.0px"


def test_no_square_without_both_dimensions() -> None:
    assert drawing.square([ANGRY], (0, 1), ANGRY) == ""
    one = Opinion(0, 1, {}, {"arousal": 1.0})
    assert drawing.square([one], (0, 1), one) == ""


def test_the_scale_is_given_or_whole_numbers_around_the_values() -> None:
    assert drawing.scale_of([CALM, LOUD]) == (1, 7)
    assert drawing.scale_of([CALM], (0, 10)) == (0, 10)
    flat = Opinion(0, 1, {}, {"arousal": 2.0, "valence": 2.0})
    assert drawing.scale_of([flat]) == (2, 3)
    assert drawing.scale_of([ANGRY]) == (0, 1)


@pytest.mark.parametrize("extra", [0, 3, 9])
def test_colours_differ_while_there_are_enough(extra: int) -> None:
    names = ["angry", "sad", *(f"other {n}" for n in range(extra))]
    found = drawing.colours(names)
    assert set(found) == set(names)
    assert set(found.values()) <= set(range(1, 9))
    assert len(set(found.values())) == min(8, len(names))
    assert (found["angry"], found["sad"]) == (1, 5)
