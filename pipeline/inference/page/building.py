"""The page of a model: Gradio's components, and what happens when one is used."""

import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import soundfile

from pipeline.ground.errors import PipelineError
from pipeline.inference import listening
from pipeline.inference.api import Model
from pipeline.inference.judge import Floats, Judge
from pipeline.inference.listening import Followed, Manner
from pipeline.inference.page import answer, look
from pipeline.inference.page.answer import Style
from pipeline.inference.timeline.opinions import Opinion

PARTS = {"as in training": listening.CLIPS, "windows": listening.FIXED, "speech": listening.VAD}
SHORTEST_S = 0.5  # of a window
AT_WORK, LIVE_AT_WORK = 2, 8
LIVE_S = 600  # of a stream, then it ends
WAITING = 32


@dataclass(frozen=True)
class Limits:
    """Of one recording."""

    mib: int = 32
    seconds: float = 300.0


@dataclass
class Live:
    """A stream of one visitor, and what was said of it so far."""

    followed: Followed
    rate_hz: int
    opinions: list[Opinion] = field(default_factory=list)


def one_by_one(model: Model) -> Model:
    """The same for several threads: a clip waits for the clip before it."""
    lock, judge = threading.Lock(), model.judge

    def logits(waves: Sequence[Any]) -> Floats:
        with lock:
            return judge.logits(waves)

    return replace(model, judge=Judge(judge.target, judge.classes, logits))


def listened(
    model: Model, style: Style, limits: Limits, file: str | None, parts: str, window_s: float
) -> str:
    """The answer to a recording, or in one line why there is none; empty without a file."""
    if not file:
        return ""
    place = Path(file)
    try:
        sound = listening.recorded(place, Path(place.name), limits.seconds)
        manner = _manner(model, parts, window_s)
        heard = listening.heard(model.judge, Path(place.name), sound, manner)
    except PipelineError as error:
        return answer.problem(str(error))
    return answer.recording(heard, sound.read(0, len(sound)), style)


def followed(
    model: Model, style: Style, piece: str | None, live: Live | None
) -> tuple[str | None, Live | None]:
    """What is heard of a stream with one more piece of it, a file that the browser recorded.

    None stands for no news.
    """
    if not piece:
        return None, live
    samples, rate_hz = soundfile.read(piece, dtype="int16", always_2d=True)
    if live is None or live.rate_hz != rate_hz or _length_s(live) >= LIVE_S:
        window_s = min(model.cutting.max_clip_s, listening.STREAM_S)
        live = Live(Followed(model.judge, rate_hz, window_s, 1.0), rate_hz)
    new = list(live.followed.hear(samples[:, 0].tobytes()))
    live.opinions += new
    return (answer.stream(live.opinions, style) if new else None), live


def _length_s(live: Live) -> float:
    return live.opinions[-1].end_s if live.opinions else 0.0


def _manner(model: Model, parts: str, window_s: float) -> Manner:
    cutting, segments = model.cutting, PARTS.get(parts)
    if segments is None:
        raise PipelineError(f"parts: expected one of {', '.join(PARTS)}, got {parts}")
    if segments == listening.FIXED:
        length_s = min(max(window_s, SHORTEST_S), cutting.max_clip_s)
        cutting = cutting.model_copy(update={"max_clip_s": length_s})
    return Manner(cutting, segments)


def built(model: Model, style: Style, limits: Limits, title: str, examples: Sequence[Path]) -> Any:
    """The page, a ``gradio.Blocks``; `options` has what it is launched with."""
    import gradio as gr

    model = one_by_one(model)
    with gr.Blocks(
        analytics_enabled=False, title=f"Speech emotion: {title}", delete_cache=(60, 600)
    ) as page:
        gr.HTML(_title(model, title), apply_default_css=False)
        with gr.Tab("Recording"):
            _recording(gr, model, style, limits, examples)
        with gr.Tab("Live"):
            _live(gr, model, style)
    page.queue(max_size=WAITING)
    return page


def options(limits: Limits) -> dict[str, Any]:
    """What ``Blocks.launch`` is given for every page."""
    import gradio as gr

    return {
        "css": look.STYLE,
        "theme": gr.themes.Default(
            "indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        "footer_links": [],
        "max_file_size": f"{limits.mib}mb",
        "run_history": False,
        "ssr_mode": False,
        "share": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "quiet": True,
    }


def _title(model: Model, title: str) -> str:
    kind = "dimensions" if model.judge.target == "dimensions" else "emotions"
    return (
        f'<header class="ser-title"><h1>Speech emotion</h1><p>{escape(title)} tells the {kind} '
        f"{escape(', '.join(model.classes))}. Recordings are not kept.</p></header>"
    )


def _recording(
    gr: Any, model: Model, style: Style, limits: Limits, examples: Sequence[Path]
) -> None:
    known = importlib.util.find_spec("silero_vad") is not None
    offered = [name for name, kind in PARTS.items() if known or kind != listening.VAD]
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            file = gr.Audio(
                label=f"A recording, at most {limits.seconds:g} s and {limits.mib} MiB",
                sources=["upload", "microphone"],
                type="filepath",
                editable=False,
                buttons=[],
                elem_id="recording",
            )
            parts = gr.Radio(offered, value=offered[0], label="Cut into segments", elem_id="parts")
            longest_s = min(model.cutting.max_clip_s, 10.0)
            window = gr.Slider(
                SHORTEST_S,
                longest_s,
                min(1.0, longest_s),
                step=0.5,
                label="Length of a window in seconds",
                visible=False,
            )
            if examples:
                gr.Examples(
                    [[str(path)] for path in examples],
                    [file],
                    example_labels=[path.stem for path in examples],
                    label="Synthetic voices to try",
                )
        with gr.Column(scale=2, min_width=300):
            shown = gr.HTML(
                _empty("Drop, choose or record a file, or take an example."),
                apply_default_css=False,
                js_on_load=look.SCRIPT,
                elem_id="answer",
            )
    told = partial(listened, model, style, limits)
    common = {"concurrency_limit": AT_WORK, "concurrency_id": "recordings"}
    given: dict[str, Any] = {"inputs": [file, parts, window], "outputs": [shown]}
    file.change(told, **given, **common, api_name="listen", trigger_mode="always_last")
    parts.change(
        lambda name: gr.update(visible=PARTS[name] == listening.FIXED),
        [parts],
        [window],
        api_name=False,
    )
    for part in (parts.change, window.release):
        part(told, **given, **common, api_name=False, trigger_mode="always_last")


def _live(gr: Any, model: Model, style: Style) -> None:
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            microphone = gr.Audio(
                label="Microphone",
                sources=["microphone"],
                type="filepath",
                streaming=True,
                buttons=[],
                elem_id="microphone",
            )
        with gr.Column(scale=2, min_width=300):
            shown = gr.HTML(
                _empty("Record: there is an answer a second, of the last four."),
                apply_default_css=False,
                js_on_load=look.SCRIPT,
                elem_id="live",
            )
    live = gr.State(None, time_to_live=3600)

    def heard(piece: str | None, state: Live | None) -> tuple[Any, Live | None]:
        text, state = followed(model, style, piece, state)
        return (gr.skip() if text is None else text), state

    microphone.start_recording(lambda: None, None, [live], api_name=False)
    microphone.stream(
        heard,
        [microphone, live],
        [shown, live],
        stream_every=0.5,
        time_limit=LIVE_S,
        concurrency_limit=LIVE_AT_WORK,
        show_progress="hidden",
        api_name=False,
    )


def _empty(text: str) -> str:
    return f'<section class="ser-answer"><p class="ser-note">{text}</p></section>'
