"""The answer to one recording as HTML: what it is, how that changes, and it itself to play again.

All that is in it is in the text: the recording as a FLAC file of what the model heard, JSON and CSV
as `ser predict` writes them. So nothing of an answer stays on the server.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.inference.page import drawing
from pipeline.inference.page.drawing import Span
from pipeline.inference.timeline.formats import FORMATS, printable
from pipeline.inference.timeline.opinions import Heard, Opinion

TYPES = {"json": "application/json", "csv": "text/csv"}
LAST_S = 30.0  # what is drawn of a stream


@dataclass(frozen=True)
class Style:
    """What holds for all answers of a model: its classes, and between which values they are."""

    classes: list[str]
    scale: Span | None = None
    note: str = ""


def recording(heard: Heard, samples: npt.NDArray[np.float32], style: Style) -> str:
    """What was heard of a recording, whose decoded ``samples`` are mono at 16 kHz."""
    scale = drawing.scale_of([heard.whole, *heard.clips], style.scale)
    shades = drawing.colours(style.classes)
    span = (0.0, heard.duration_s)
    wave = drawing.waveform(drawing.envelope(samples), heard.duration_s)
    name = printable(heard.file.name)
    return (
        f'<section class="ser-answer" aria-label="Answer" data-said="{escape(_said(heard.whole))}">'
        f"{_headline(heard.whole, f'{name}, {heard.duration_s:.1f} s')}"
        f'<div class="ser-both">{_bars(heard.whole, shades, scale)}'
        f"{drawing.square(heard.clips, scale, heard.whole)}</div>"
        f"{drawing.timeline(heard.clips, span, shades, scale, wave)}"
        f'<audio controls aria-label="{escape(name)}" src="{_flac(samples)}"></audio>'
        f"{_parts(heard.clips, style.classes, scale)}{_downloads(heard, style.classes)}"
        f"{_note(style.note)}</section>"
    )


def stream(opinions: Sequence[Opinion], style: Style) -> str:
    """What is heard of a stream: its newest opinion, and the way there."""
    now, before = opinions[-1], [None, *opinions[:-1]]
    parted = [_news(*pair) for pair in zip(before, opinions, strict=True)]
    scale = drawing.scale_of(opinions, style.scale)
    shades = drawing.colours(style.classes)
    span = (max(0.0, now.end_s - LAST_S), max(LAST_S, now.end_s))
    return (
        f'<section class="ser-answer" aria-label="Live answer" data-said="{escape(_said(now))}">'
        f"{_headline(now, f'{now.start_s:.0f} to {now.end_s:.0f} s')}"
        f'<div class="ser-both">{_bars(now, shades, scale)}'
        f"{drawing.square(parted, scale, now)}</div>"
        f"{drawing.timeline(parted, span, shades, scale)}{_note(style.note)}</section>"
    )


def recent(opinions: Sequence[Opinion]) -> list[Opinion]:
    """Those of a stream that `stream` draws."""
    return [one for one in opinions if one.end_s > opinions[-1].end_s - LAST_S]


def _news(before: Opinion | None, one: Opinion) -> Opinion:
    """Of windows that overlap, the seconds that are new in this one."""
    return replace(one, start_s=max(before.end_s, one.start_s)) if before else one


def problem(line: str) -> str:
    """What went wrong, in the one line that a command would print."""
    text = escape(" ".join(printable(line).split()))
    return f'<p class="ser-problem" role="alert" data-said="{text}">{text}</p>'


def _said(one: Opinion) -> str:
    if not one.probabilities:
        return one.text
    return f"{one.label}, {max(one.probabilities.values()):.0%}"


def _headline(one: Opinion, where: str) -> str:
    share = f" {max(one.probabilities.values()):.0%}" if one.probabilities else ""
    return (
        f'<p class="ser-headline"><strong>{escape(one.text)}</strong>{share} '
        f"<span>{escape(where)}</span></p>"
    )


def _bars(one: Opinion, shades: dict[str, int], scale: Span) -> str:
    span = (0.0, 1.0) if one.probabilities else scale
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><span class="ser-bar ser-c{shades[name]}" '
        f'style="width:{100 * drawing.within(value, span):.1f}%"></span></td>'
        f'<td class="ser-number">{value:.3f}</td></tr>'
        for name, value in sorted(one.told.items(), key=lambda pair: -pair[1])
    )
    caption = "Probability of each emotion" if one.probabilities else "Value of each dimension"
    return (
        f'<table class="ser-bars"><caption>{caption}</caption>'
        f'<thead class="ser-unseen"><tr><th scope="col">name</th><th scope="col">drawn</th>'
        f'<th scope="col">number</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _parts(clips: Sequence[Opinion], classes: Sequence[str], scale: Span) -> str:
    """A row for each part, with a button that plays it."""
    labelled = bool(clips and clips[0].probabilities)
    columns = ["emotion", "probability"] if labelled else list(classes)
    head = "".join(
        f'<th scope="col">{escape(name)}</th>' for name in ["start (s)", "end (s)", *columns]
    )
    rows = "".join(_part(one, number, columns, scale) for number, one in enumerate(clips, 1))
    return (
        '<div class="ser-scroll" role="region" aria-label="Segments" tabindex="0">'
        '<table class="ser-parts"><caption>Segments: press one to hear it</caption>'
        f'<thead><tr><th scope="col"><span class="ser-unseen">play</span></th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _part(one: Opinion, number: int, columns: Sequence[str], scale: Span) -> str:
    where = f"{one.start_s:.2f} to {one.end_s:.2f} s"
    label = f"Play segment {number}, {where}, {one.text}"
    if one.probabilities:
        cells = [one.label, f"{max(one.probabilities.values()):.3f}"]
    else:
        cells = [f"{one.values[name]:.3f}" for name in columns]
    told = "".join(f"<td>{escape(c)}</td>" for c in cells)
    point = ""
    if {"arousal", "valence"} <= set(one.values):
        x, y = drawing.place(one, scale)
        point = f' data-x="{x}" data-y="{y}"'
    return (
        f'<tr data-start="{one.start_s}" data-end="{one.end_s}"{point}>'
        f'<td><button type="button" class="ser-play" aria-label="{escape(label)}">'
        f'<span aria-hidden="true">&#9654;</span></button></td>'
        f"<td>{one.start_s:.2f}</td><td>{one.end_s:.2f}</td>{told}</tr>"
    )


def _downloads(heard: Heard, classes: Sequence[str]) -> str:
    links = []
    for name, kind in TYPES.items():
        form = FORMATS[name]
        header = form.header(_columns(heard.whole, classes))
        text = "\n".join([*([header] if header else []), form.text(heard, classes)]) + "\n"
        file = escape(f"{printable(heard.file.name)}.{name}")
        links.append(
            f'<a class="ser-download" download="{file}" href="{_data(kind, text.encode())}">'
            f"Download {name.upper()}</a>"
        )
    return f'<p class="ser-downloads">{" ".join(links)}</p>'


def _columns(one: Opinion, classes: Sequence[str]) -> list[str]:
    return ["emotion", *classes] if one.probabilities else list(classes)


def _note(note: str) -> str:
    return f'<p class="ser-note">{escape(note)}</p>' if note else ""


def _flac(samples: npt.NDArray[np.float32]) -> str:
    held = io.BytesIO()
    soundfile.write(held, samples, SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
    return _data("audio/flac", held.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
