"""The program that a model card shows: from a recording to each class's probability.

Where transformers loads the encoder it needs libraries alone, none of this project, and does all
that `ser predict` does: one channel at 16 kHz, trimmed and cut as the classifier's own clips were,
the head of whatever kind, the mean of the clips' logits. Of other models it calls this package.
Tests run both.
"""

from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ
from pipeline.audio.segments import FRAME_SAMPLES, HOP_SAMPLES, Cutting
from pipeline.encoders.layers import index
from pipeline.inference.card import DISTRIBUTION, Usage
from pipeline.methods.emotion_head import Design
from pipeline.methods.finetuning import LossParams
from pipeline.training.heads import LEAST_VARIANCE

OURS = Usage(
    program="""\
import ser_pipeline

folder = "."  # where this card lies
file = "speech.wav"  # yours
model = ser_pipeline.load(folder)
for name, value in ser_pipeline.predict(model, file).whole.told.items():
    print(f"{name} {value:.3f}")""",
    library=DISTRIBUTION,
    note=f"The wheel of `{DISTRIBUTION}` has all that it takes.",
)


def with_transformers(design: Design, cutting: Cutting | None, temperature: float | None) -> Usage:
    """The `Usage` of a model that transformers loads, at least its encoder.

    ``temperature`` calibrates it; None where it is uncalibrated.
    """
    if design.is_transformers:
        note = "transformers knows this head; adapters are merged."
    else:
        note = "transformers loads the encoder; its head is none of theirs, and computed here."
    if cutting is None:
        note += " How its training clips were trimmed and cut is not known."
    if temperature is None and design.target != "dimensions":
        note += " Its probabilities are uncalibrated."
    return Usage(program(design, cutting, temperature or 1.0), "transformers", note)


def program(design: Design, cutting: Cutting | None, temperature: float = 1.0) -> str:
    """Python for a folder that `ser export` wrote; ``folder`` and ``file`` are its first lines.

    Args:
        design: Of the classifier.
        cutting: How its clips were cut; None where that is not known, and nothing is cut.
        temperature: Its own, which calibrates it.
    """
    theirs = design.is_transformers
    model = "AutoModelForAudioClassification" if theirs else "AutoModel"
    trimmed, limit = bool(cutting and cutting.trim_db), cutting and cutting.max_clip_s
    lines = [
        *(["import librosa"] if trimmed else []),
        "import soundfile",
        "import soxr",
        "import torch",
        *([] if theirs else ["from safetensors.torch import load_file"]),
        f"from transformers import AutoFeatureExtractor, {model}",
        "",
        'folder = "."  # where this card lies',
        'file = "speech.wav"  # yours',
        f"classes = {list(design.classes)!r}",
        "extractor = AutoFeatureExtractor.from_pretrained(folder)",
        f"model = {model}.from_pretrained(folder).eval()",
        *([] if theirs else _head(design)),
        "",
        "",
        "def logits(clip):",
        f'    inputs = extractor(clip, sampling_rate={SAMPLE_RATE_HZ}, return_tensors="pt")',
        *(["    return model(**inputs).logits[0]"] if theirs else _logits(design)),
        "",
        "",
        'wave, rate = soundfile.read(file, dtype="float32", always_2d=True)',
        f"wave = soxr.resample(wave.mean(1), rate, {SAMPLE_RATE_HZ})",
        *([_trim(cutting.trim_db)] if cutting and cutting.trim_db else []),
        *(_cut(cutting) if cutting and limit else ["clips = [wave]"]),
        "with torch.inference_mode():",
        "    mean = torch.stack([logits(clip) for clip in clips]).mean(0)",
        *_told(design, temperature),
    ]
    return "\n".join(lines)


def _told(design: Design, temperature: float) -> list[str]:
    if design.target == "dimensions":
        return [
            "for name, value in zip(classes, mean.tolist()):",
            '    print(f"{name} {value:.3f}")',
        ]
    scaled = "mean" if temperature == 1 else f"(mean / {temperature})"
    return [
        f"for name, probability in zip(classes, {scaled}.softmax(0).tolist()):",
        '    print(f"{name} {probability:.3f}")',
    ]


def _trim(trim_db: float) -> str:
    sizes = f"frame_length={FRAME_SAMPLES}, hop_length={HOP_SAMPLES}"
    return f"wave, _ = librosa.effects.trim(wave, top_db={trim_db}, {sizes})"


def _cut(cutting: Cutting) -> list[str]:
    limit = (
        f"limit = {round(cutting.max_clip_s * SAMPLE_RATE_HZ)}  # samples: {cutting.max_clip_s} s"
    )
    if cutting.last_clip == "overlapped":
        starts = "[*range(0, len(wave) - limit, limit), max(0, len(wave) - limit)]"
    else:
        starts = f"range(0, len(wave) - {MIN_SAMPLES - 1}, limit)"
    return [limit, f"starts = {starts}", "clips = [wave[at : at + limit] for at in starts]"]


def _head(design: Design) -> list[str]:
    lines = ['head = load_file(f"{folder}/model.safetensors")']
    if design.model.head == "bilstm":
        width, hidden = design.width, design.model.lstm_width
        lines += [
            f"lstm = torch.nn.LSTM({width}, {hidden}, batch_first=True, bidirectional=True)",
            'lstm.load_state_dict({n: head[f"lstm.{n}"] for n in lstm.state_dict()})',
        ]
    return lines


def _pooled(design: Design) -> list[str]:
    """From ``frames`` to ``pooled``, as `EmotionHead` does it."""
    if design.model.head == "bilstm":
        return ["    frames = lstm(frames[None])[0][0]", "    pooled = frames.mean(0)"]
    if design.model.head == "mean-max":
        return ["    pooled = torch.cat([frames.mean(0), frames.amax(0)])"]
    if design.model.head == "pool":
        return ["    pooled = frames.mean(0)"]
    return [
        '    hidden = frames @ head["attention.hidden.weight"].T + head["attention.hidden.bias"]',
        '    weights = (hidden.tanh() @ head["attention.score.weight"].T).softmax(0)',
        "    mean = (weights * frames).sum(0)",
        "    variance = (weights * (frames - mean) ** 2).sum(0)",
        f"    pooled = torch.cat([mean, variance.clamp(min={LEAST_VARIANCE}).sqrt()])",
    ]


def _logits(design: Design) -> list[str]:
    """The body of a function from ``inputs`` to logits (classes,), after `EmotionHead`."""
    model = design.model
    lines = ["    found = model(**inputs, output_hidden_states=True)"]
    if model.layer == "weighted":
        lines += [
            '    weights = head["layer_weights"].softmax(0)',
            "    frames = sum(w * states[0] for w, states in zip(weights, found.hidden_states))",
        ]
    elif model.layer == "last":
        lines += ["    frames = found.last_hidden_state[0]"]
    else:
        at = index(model.layer, design.blocks)
        lines += [f"    frames = found.hidden_states[{at}][0]  # layer {model.layer}"]
    lines += _pooled(design)
    lines += ['    x = head["projector.weight"] @ pooled + head["projector.bias"]']
    if not design.reads_means:
        lines += ["    x = x.relu()"]
    if model.batch_norm:
        lines += [
            '    x = (x - head["norm.running_mean"]) / (head["norm.running_var"] + 1e-5).sqrt()',
            '    x = x * head["norm.weight"] + head["norm.bias"]',
        ]
    if design.target == "dimensions":
        scale = f"torch.tensor({design.deviations}) + torch.tensor({design.means})"
        lines += ['    x = head["classifier.weight"] @ x + head["classifier.bias"]']
        return [*lines, f"    return x * {scale}"]
    if not isinstance(design.loss, LossParams) or design.loss.name == "ce":
        return [*lines, '    return head["classifier.weight"] @ x + head["classifier.bias"]']
    return [
        *lines,
        '    x, weight = x / x.norm(), head["classifier.weight"]',
        f"    return {design.loss.scale} * (weight / weight.norm(dim=1, keepdim=True)) @ x",
    ]
