"""What a page draws of opinions, as HTML and SVG: pure functions from numbers to text.

Nothing is fetched to show it. Colours are variables of `look.STYLE`; no colour says what no word
says. Shapes without words stretch with the page, words are HTML, so that they stay as large as they
are on a narrow screen.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from pipeline.inference.timeline.opinions import Opinion

COLUMNS = 600  # of a waveform
TICKS = 6  # at most, on an axis of time
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
# A colour of `look.STYLE` for each emotion that corpora share; others take what is left, in turn.
COLOURS = {
    "angry": 1,
    "happy": 2,
    "disgust": 3,
    "calm": 4,
    "sad": 5,
    "fear": 6,
    "surprise": 7,
    "neutral": 8,
    "arousal": 1,
    "valence": 5,
    "dominance": 3,
}
COUNT = 8
SIDE = 240  # of the square, in its own units
EDGE = 34  # around it, for its words

Envelope = npt.NDArray[np.float32]
Span = tuple[float, float]


def colours(names: Sequence[str]) -> dict[str, int]:
    """The number of each name's colour, from 1."""
    free = [n for n in range(1, COUNT + 1) if n not in {COLOURS.get(name) for name in names}]
    others = [name for name in names if name not in COLOURS]
    turn = free or list(range(1, COUNT + 1))
    return {name: COLOURS.get(name) or turn[others.index(name) % len(turn)] for name in names}


def envelope(samples: npt.NDArray[np.float32], columns: int = COLUMNS) -> Envelope:
    """The least and the greatest of the samples in each column, of shape (columns, 2)."""
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(int)
    pair = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    return np.stack(pair, 1)


def scale_of(opinions: Sequence[Opinion], given: Span | None = None) -> Span:
    """Between which values dimensions are drawn: as given, else whole numbers around all values."""
    values = [value for one in opinions for value in one.values.values()]
    if given or not values:
        return given or (0.0, 1.0)
    low, high = float(np.floor(min(values))), float(np.ceil(max(values)))
    return (low, high) if low < high else (low, low + 1)


def within(value: float, span: Span) -> float:
    """Where a value lies in a span, in [0, 1]; beyond its ends, at the end."""
    low, high = span
    return min(1.0, max(0.0, (value - low) / (high - low)))


def ticks(span: Span) -> list[float]:
    """Round times for an axis, from whole steps."""
    length = span[1] - span[0]
    step = next((s for s in STEPS_S if length / s < TICKS), length / TICKS)
    first, last = int(np.ceil(span[0] / step - 1e-9)), int(np.floor(span[1] / step + 1e-9))
    return [round(n * step, 6) for n in range(first, last + 1)]


def waveform(shape: Envelope, seconds: float) -> str:
    """A recording's outline, stretched over the width that there is."""
    peak = float(np.abs(shape).max()) if len(shape) else 0.0
    scaled = shape / (peak or 1.0) * 48
    upper = [f"{x} {50 - high:.1f}" for x, (_, high) in enumerate(scaled)]
    lower = [f"{x} {50 - low:.1f}" for x, (low, _) in reversed(list(enumerate(scaled)))]
    return (
        f'<svg class="ser-wave" viewBox="0 0 {len(shape)} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="Waveform of {seconds:.1f} seconds">'
        f'<path d="M{" L".join([*upper, *lower])} Z"/></svg>'
    )


def timeline(
    opinions: Sequence[Opinion], span: Span, shades: Mapping[str, int], scale: Span, wave: str = ""
) -> str:
    """Opinions side by side in time, below ``wave``: their names, and what was told of each.

    Args:
        opinions: In the order of their starts.
        span: The seconds that are drawn.
        shades: The colour of each class.
        scale: Between which values dimensions are drawn.
        wave: What `waveform` drew of the same seconds.
    """
    drawn = _curves(opinions, span, shades, scale) if _values(opinions) else ""
    drawn = drawn or _shares(opinions, span, shades)
    marks = "".join(_mark(at, within(at, span)) for at in ticks(span))
    return (
        '<div class="ser-timeline"><div class="ser-plot">'
        f'{wave}<div class="ser-names" aria-hidden="true">{_names(opinions, span, shades)}</div>'
        f'{drawn}<div class="ser-head" hidden></div></div>'
        f'<div class="ser-axis" aria-hidden="true">{marks}</div>{_legend(shades)}</div>'
    )


def square(opinions: Sequence[Opinion], scale: Span, at: Opinion) -> str:
    """Arousal over valence: the way through the opinions, and a point where ``at`` is.

    Empty where a model does not tell both.
    """
    if not {"arousal", "valence"} <= set(at.values):
        return ""
    way = [place(one, scale) for one in opinions]
    low, high = (f"{end:g}" for end in scale)
    x, y = place(at, scale)
    path = " ".join(f"{a},{b}" for a, b in way)
    middle, end = EDGE + SIDE / 2, EDGE + SIDE
    told = ", ".join(f"{name} {value:.2f}" for name, value in at.values.items())
    dots = "".join(f'<circle class="ser-dot" cx="{a}" cy="{b}" r="3"/>' for a, b in way)
    return (
        f'<svg class="ser-square" viewBox="0 0 {SIDE + 2 * EDGE} {SIDE + 2 * EDGE}" role="img" '
        f'aria-label="Arousal and valence: {told}, each from {low} to {high}">'
        f'<rect x="{EDGE}" y="{EDGE}" width="{SIDE}" height="{SIDE}" rx="6"/>'
        f'<path class="ser-cross" d="M{middle} {EDGE} V{end} M{EDGE} {middle} H{end}"/>'
        f'<text x="{middle}" y="{EDGE - 10}">aroused ({high})</text>'
        f'<text x="{middle}" y="{end + 20}">calm ({low})</text>'
        f'<text transform="translate({EDGE - 12} {middle}) rotate(-90)">negative ({low})</text>'
        f'<text transform="translate({end + 20} {middle}) rotate(-90)">positive ({high})</text>'
        f'<polyline class="ser-way" points="{path}"/>{dots}'
        f'<circle class="ser-point" r="8" style="cx:{x}px;cy:{y}px" data-x="{x}" data-y="{y}"/>'
        "</svg>"
    )


def place(opinion: Opinion, scale: Span) -> tuple[float, float]:
    """Where an opinion lies in the `square`, in its units; arousal points upwards."""
    across, up = (within(opinion.values[name], scale) for name in ("valence", "arousal"))
    return round(EDGE + SIDE * across, 1), round(EDGE + SIDE * (1 - up), 1)


def _values(opinions: Sequence[Opinion]) -> bool:
    return any(one.values for one in opinions)


def _names(opinions: Sequence[Opinion], span: Span, shades: Mapping[str, int]) -> str:
    """Each opinion's label or number, at its place; a click plays it (`scripts.ANSWER`)."""
    made = []
    for number, one in enumerate(opinions, 1):
        left, right = (100 * within(at, span) for at in (one.start_s, one.end_s))
        shade = shades.get(one.label, 0) if one.probabilities else 0
        kind = "" if one.probabilities else ' class="ser-short"'
        text = escape(one.label if one.probabilities else str(number))
        made.append(
            f'<span class="ser-name ser-c{shade}" title="{escape(one.text)}" '
            f'data-start="{one.start_s}" data-end="{one.end_s}" '
            f'style="left:{left:.2f}%;width:{right - left:.2f}%"><b{kind}>{text}</b></span>'
        )
    return "".join(made)


def _shares(opinions: Sequence[Opinion], span: Span, shades: Mapping[str, int]) -> str:
    """Each class's probability as the height of its part of a column."""
    rows = []
    for one in opinions:
        left, right = (1000 * within(at, span) for at in (one.start_s, one.end_s))
        top = 0.0
        for name, share in one.told.items():
            rows.append(
                f'<rect class="ser-c{shades[name]}" x="{left:.1f}" y="{100 * top:.2f}" '
                f'width="{right - left:.1f}" height="{100 * share:.2f}">'
                f"<title>{escape(name)} {share:.3f}</title></rect>"
            )
            top += share
    return _stretched("".join(rows), "The probability of each emotion over time")


def _curves(opinions: Sequence[Opinion], span: Span, shades: Mapping[str, int], scale: Span) -> str:
    """Each dimension as a line of steps."""
    lines = []
    for name, shade in shades.items():
        steps = []
        for one in opinions:
            y = 97 - 94 * within(one.values[name], scale)
            left, right = (1000 * within(at, span) for at in (one.start_s, one.end_s))
            steps.append(f"M{left:.1f} {y:.1f} H{right:.1f}")
        lines.append(f'<path class="ser-curve ser-c{shade}" d="{" ".join(steps)}"/>')
    low, high = scale
    return _stretched("".join(lines), f"Each dimension over time, from {low:g} to {high:g}")


def _stretched(inside: str, label: str) -> str:
    return (
        '<svg class="ser-shares" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{inside}</svg>'
    )


def _mark(at: float, where: float) -> str:
    """A time below its place, within the axis."""
    shift = 0 if where < 0.03 else 100 if where > 0.97 else 50
    style = f"left:{100 * where:.2f}%;transform:translateX(-{shift}%)"
    return f'<span style="{style}">{at:g} s</span>'


def _legend(shades: Mapping[str, int]) -> str:
    made = (f'<li class="ser-c{shade}">{escape(name)}</li>' for name, shade in shades.items())
    return f'<ul class="ser-legend" aria-hidden="true">{"".join(made)}</ul>'
