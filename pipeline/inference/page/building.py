"""The page of a model: Gradio's components, and what happens when one is used."""

import importlib.util
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from pipeline.ground.errors import PipelineError
from pipeline.inference import listening
from pipeline.inference.api import Model
from pipeline.inference.judge import Floats
from pipeline.inference.listening import Manner
from pipeline.inference.page import answer, look, scripts
from pipeline.inference.page.answer import Style
from pipeline.inference.page.live import Streams

PARTS = {"as in training": listening.CLIPS, "windows": listening.FIXED, "speech": listening.VAD}
SHORTEST_S, LONGEST_S = 0.5, 10.0  # of a window, within the clips of training
AT_WORK = 2
WAITING = 32
KEPT_S = 3600  # an upload, which a visitor may cut otherwise


@dataclass(frozen=True)
class Limits:
    """Of one recording."""

    mib: int = 32
    seconds: float = 300.0


def one_by_one(model: Model) -> Model:
    """The same for several threads: a clip waits for the clip before it."""
    lock, judge = threading.Lock(), model.judge

    def rows(waves: Sequence[Any]) -> Floats:
        with lock:
            return judge.rows(waves)

    return replace(model, judge=judge.through(rows))


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


def _manner(model: Model, parts: str, window_s: float) -> Manner:
    cutting, segments = model.cutting, PARTS.get(parts)
    if segments is None:
        raise PipelineError(f"parts: expected one of {', '.join(PARTS)}, got {parts}")
    if segments == listening.FIXED:
        longest_s = min(cutting.max_clip_s, LONGEST_S)
        length_s = min(max(window_s, min(SHORTEST_S, longest_s / 2)), longest_s)
        cutting = cutting.model_copy(update={"max_clip_s": length_s})
    return Manner(cutting, segments)


def built(model: Model, style: Style, limits: Limits, title: str, examples: Sequence[Path]) -> Any:
    """The page, a ``gradio.Blocks``; `mounted` serves it."""
    import gradio as gr

    model = one_by_one(model)
    with gr.Blocks(
        analytics_enabled=False, title=f"Speech emotion: {title}", delete_cache=(300, KEPT_S)
    ) as page:
        gr.HTML(_title(model, title), apply_default_css=False)
        with gr.Tab("Recording"):
            _recording(gr, model, style, limits, examples)
        with gr.Tab("Live"):
            _live(gr, model, style)
    page.queue(max_size=WAITING)
    return page


def mounted(
    page: Any, limits: Limits, hosts: list[str], admits: Callable[[str, str], bool] | None = None
) -> Any:
    """The page as an application of ASGI, called by one of the names ``hosts``.

    ``admits`` is asked about a visitor's name and password.
    """
    import fastapi
    import gradio as gr
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = fastapi.FastAPI(openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    theme = gr.themes.Default(
        primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=admits,
        auth_message="Any user name, and the token as the password." if admits else None,
        # Not as ``css``, from which Gradio drops what it does not know, container queries among it.
        head=f"<style>{look.STYLE}</style>",
        theme=theme,
        footer_links=[],
        max_file_size=limits.mib * 2**20,
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )


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
            longest_s = min(model.cutting.max_clip_s, LONGEST_S)
            shortest_s = min(SHORTEST_S, longest_s / 2)
            window = gr.Slider(
                shortest_s,
                longest_s,
                min(1.0, longest_s),
                step=shortest_s,
                label="Length of a window in seconds",
                visible=False,
            )
            if examples:
                gr.Examples(
                    [[str(path)] for path in examples],
                    [file],
                    example_labels=[path.stem for path in examples],
                    label="Examples",
                )
        with gr.Column(scale=2, min_width=300):
            shown = gr.HTML(
                _empty("Drop, choose or record a file, or take an example."),
                apply_default_css=False,
                js_on_load=scripts.ANSWER,
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
    streams = Streams(model, style)

    def hear(told: Any) -> str:
        return streams.hear(told)

    gr.HTML(
        '<div class="ser-controls"><button type="button" class="ser-microphone" '
        'aria-pressed="false">Listen to the microphone</button>'
        '<span class="ser-state" role="status">An answer a second, of the last four.</span></div>'
        '<div class="ser-shown"></div>',
        apply_default_css=False,
        js_on_load=scripts.LIVE,
        server_functions=[hear],
        elem_id="live",
    )


def _empty(text: str) -> str:
    return f'<section class="ser-answer"><p class="ser-note">{text}</p></section>'
