"""Every cell of the table in docs/tasks.md: what it names is learnt, what it refuses is refused."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import predict
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.ground import files, params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.scoring import lists
from pipeline.splits import folds
from stages import crnn, encoder, extract, finetune, finetune_cached, multitask, networks, probe
from tests.speech import small_encoder, tone_clips

NAMES = {"emotion": "emotion", "votes": "heard", "dimensions": "affect", "shares": "share"}
OUTPUTS = {"dimensions": ["arousal", "valence"], "shares": ["anger", "joy"]}
OVERLAY = """
corpora: [tones]
folds: [0]
adapted: [0]
encoders: [tiny, fbank]
features: [fbank]
task:
  emotion: {classes: [angry, sad]}
  heard: {classes: [angry, sad]}
  affect: {dimensions: [arousal, valence]}
  share: {emotions: [anger, joy]}
multitask: {epochs: 1, lstm_width: 4}
finetune:
  model: {layer: last, projection: 4}
  training: {epochs: 1}
  methods:
    frozen: {training: {epochs: 1}}
    lora-classifier: {training: {epochs: 1}}
    linear: {c: [1.0]}
crnn: {features: [fbank], model: {channels: [4], gru_width: 4}, training: {epochs: 1}}
networks:
  features: [fbank]
  model:
    conv: [4]
    lstm_width: 4
    feed_forward: {cnn-lstm: [4], cnn-lstm-attention: [4]}
  training: {epochs: 1}
probe: {c: [1.0], features: [fbank]}
"""
STAGES: dict[str, Callable[[str], Any]] = {
    "linear": lambda task: finetune_cached.main(task, "fbank", "linear", 0),
    "frozen": lambda task: finetune_cached.main(task, "fbank", "frozen", 0),
    "lora-classifier": lambda task: finetune_cached.main(task, "fbank", "lora-classifier", 0),
    "full": lambda task: finetune.main(task, "pretrained", "full", 0),
    "lora-qkv": lambda task: finetune.main(task, "pretrained", "lora-qkv", 0),
    "crnn": lambda task: crnn.main(task, "fbank", 0),
    "cnn-lstm": lambda task: networks.main(task, "fbank", "cnn-lstm", 0),
    "cnn-lstm-attention": lambda task: networks.main(task, "fbank", "cnn-lstm-attention", 0),
    "multitask": lambda _: multitask.main(0),
    "probe": lambda task: probe.main(task, "fbank"),
}
STARTS = {"full": "pretrained", "lora-qkv": "pretrained"}
NETWORKS = ("cnn-lstm", "cnn-lstm-attention")


def table() -> dict[tuple[str, str], str]:
    """The cells of the table by method and target."""
    text = (ROOT / "docs/tasks.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| `([\w-]+)` \| (.*) \| (.*) \| (.*) \| (.*) \|$", text)
    return {(m, t): cell for m, *cells in rows for t, cell in zip(NAMES, cells, strict=True)}


CELLS = [
    (method, target, loss)
    for (method, target), cell in table().items()
    for loss in re.findall(r"`([\w-]+)`", cell)
]
REFUSED = {cell: text.removeprefix("no: ") for cell, text in table().items() if text[:2] == "no"}


def test_the_table_has_every_method() -> None:
    assert {method for method, _ in table()} == set(STAGES)
    assert len(CELLS) == 63 and len(REFUSED) == 9


def configure(overlay: str) -> None:
    path = Path("params.yaml")
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    params.read.cache_clear()


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones whose pitch says arousal, and votes that say their class."""
    root = tmp_path_factory.mktemp("rated")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        configure(OVERLAY)
        rng, made = np.random.default_rng(0), []
        for example in tone_clips(30):
            voted = {"angry": float(4 - 3 * example.label), "sad": float(1 + 3 * example.label)}
            values = {
                "arousal": 2.0 + 2 * example.label + rng.normal(0, 0.1),
                "valence": 3 + rng.normal(),
            }
            told = {"anger": 0.2 + 0.5 * example.label, "joy": float(rng.uniform(0, 1))}
            clip = replace(example.clip, votes=voted, dimensions=values, shares=told)
            made.append(replace(example, clip=clip))
        manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in made])
        folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in made}])
        small_encoder(Path("artifacts/encoders/tiny"))
        encoder.main("fbank")
        extract.main("fbank", "tones")
    return root


@pytest.fixture
def here(rated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(rated)
    monkeypatch.setenv("SER_SCRATCH", str(rated / ".scratch"))
    return rated


@pytest.mark.parametrize(("method", "target", "loss"), CELLS)
def test_a_cell_is_learnt(here: Path, method: str, target: str, loss: str) -> None:
    name = NAMES[target]
    if target in OUTPUTS and loss != "ridge":
        configure(f"task: {{{name}: {{loss: {loss}}}}}")
    elif method == "frozen" and target == "emotion":
        configure(f"finetune: {{methods: {{frozen: {{loss: {{name: {loss}}}}}}}}}")
    elif target == "emotion" and loss in ("ce", "am-softmax"):
        configure(f"finetune: {{loss: {{name: {loss}}}}}")
    elif loss in ("logistic", "svm"):
        configure(f"finetune: {{methods: {{linear: {{kind: {loss}}}}}}}")
    configure(f"multitask: {{task: {name}}}")
    STAGES[method](name)
    if method in ("multitask", "probe"):
        return
    folder = Path("artifacts/classifiers") / name / STARTS.get(method, "fbank") / method / "0"
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    names = [f"predicted_{name}" for name in OUTPUTS.get(target, [])]
    columns = names or ["angry", "sad"]
    assert len(rows) == 12
    assert np.isfinite([[float(row[column]) for column in columns] for row in rows]).all()
    if target in OUTPUTS and method not in ("linear", *NETWORKS):
        live = Path("results/live") / f"{'-'.join(folder.parts[1:])}.csv"
        shown, told = (
            [row["dev_ccc"] for row in files.read_csv(path)]
            for path in (live, folder / "history.csv")
        )
        assert shown == told != [""]
    if (method, target) == ("linear", "dimensions"):
        pairs = [(float(r["true_arousal"]), float(r["predicted_arousal"])) for r in rows]
        assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("task", "method"),
    [("affect", "linear"), ("affect", "cnn-lstm"), *(("share", m) for m in NETWORKS)],
)
def test_predict_tells_values_in_the_range_of_the_ratings(
    here: Path, capsys: pytest.CaptureFixture[str], task: str, method: str
) -> None:
    STAGES[method](task)
    names = OUTPUTS["shares" if task == "share" else "dimensions"]
    folder = Path("artifacts/classifiers") / task / "fbank" / method / "0"
    row = next(iter(csv.DictReader((folder / "predictions.csv").open())))
    file = manifest.CLIPS / "tones" / f"{row['utterance'].split('/')[1]}.flac"
    capsys.readouterr()
    predict.main([file], str(folder), as_json=True)
    found = json.loads(capsys.readouterr().out)
    expected = {name: float(row[f"predicted_{name}"]) for name in names}
    assert found["values"] == pytest.approx(expected, abs=1e-4)
    assert "emotion" not in found and found["clips"][0]["values"] == found["values"]
    predict.main([file], str(folder))
    head, told = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["file", "start_s", "end_s", *names]
    assert [float(value) for value in told.split("\t")[3:]] == pytest.approx(
        [*expected.values()], abs=1e-3
    )


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_a_cell_that_is_none_says_why(here: Path, method: str, target: str) -> None:
    before = Path("params.yaml").read_text("utf-8")
    try:
        section = "networks" if method in NETWORKS else method
        configure(f"{{corpora: [demo], {section}: {{tasks: [{NAMES[target]}]}}}}")
        with pytest.raises(PipelineError) as error:
            lists.check()
        with pytest.raises(PipelineError, match="whose target is"):
            STAGES[method](NAMES[target])
    finally:
        Path("params.yaml").write_text(before, "utf-8")
        params.read.cache_clear()
    said = str(error.value)
    assert said.startswith(f"params.yaml: {section}.tasks has {NAMES[target]!r}, whose target is")
    assert REFUSED[method, target] in said
