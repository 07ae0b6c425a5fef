"""share: from cached frames to predictions, in one command."""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.cli.preset import merged
from pipeline.demo.listeners import PERCEPTS
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.methods.networks import regression
from pipeline.training.epoch import Epoch
from stages import encoder, evaluate, extract, preprocess, share, split
from tests.conftest import ROOT
from tests.ratings import rated_corpus, write_project
from tests.recordings import record

OUT = Path("artifacts/share/fbank/cnn-lstm-attention")


def edit(old: str, new: str) -> None:
    path = Path("params.yaml")
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    params.read.cache_clear()


@pytest.fixture(autouse=True)
def two_epochs(project: Path) -> None:
    before, section = Path("params.yaml").read_text("utf-8").split("\nshare:")
    section = re.sub(r"(\n    epochs:) \d+", r"\1 2", section, count=1)
    Path("params.yaml").write_text(f"{before}\nshare:{section}", "utf-8")


def contents(folder: Path = OUT) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def predictions() -> list[dict[str, str]]:
    with (OUT / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_writes_models_predictions_and_curves(project: Path) -> None:
    clips, roles, frames = rated_corpus(40)
    masked = [replace(c, shares={}) if row == 4 else c for row, c in enumerate(clips)]
    write_project(masked, roles, frames)
    share.main("fbank", "cnn-lstm-attention")
    first = contents()
    rows = predictions()
    assert [row["utterance"] for row in rows] == [
        c.utterance for c in clips if roles[c.clip] != "train"
    ]
    assert {row["role"] for row in rows} == {"dev", "test"}
    assert [row["true_anger"] == "" for row in rows] == [r["utterance"] == "demo/004" for r in rows]
    assert all(0 < float(row["predicted_calmness"]) < 1 for row in rows)
    assert first["submission.csv"].decode().splitlines()[0] == "filename,Anger,Calmness,Interest"
    config = json.loads(first["config.json"])
    assert config["regressors"] == {e: [e] for e in ("anger", "calmness", "interest")}
    assert not list(Path(".scratch").glob("*/*.safetensors"))
    share.main("fbank", "cnn-lstm-attention")
    assert contents() == first


def test_nothing_about_test_clips_reaches_the_model(project: Path) -> None:
    clips, roles, frames = rated_corpus(40)
    write_project(clips, roles, frames)
    share.main("fbank", "cnn-lstm-attention")
    honest = contents()["model.safetensors"]
    for clip in clips:
        if roles[clip.clip] == "test":
            frames[clip.clip] = 100 - frames[clip.clip]
            clip.shares.update(anger=1 - clip.shares["anger"])
    write_project(clips, roles, frames)
    share.main("fbank", "cnn-lstm-attention")
    assert contents()["model.safetensors"] == honest


def test_corpora_are_pooled_and_an_inactive_one_is_not_read(project: Path) -> None:
    clips, roles, frames = rated_corpus(20)
    more, more_roles, more_frames = rated_corpus(20, "hume", seed=1)
    write_project(clips + more, roles | more_roles, frames | more_frames)
    share.main("fbank", "cnn-lstm-attention")
    assert {row["corpus"] for row in predictions()} == {"demo"}
    edit(
        "corpora:\n",
        "corpora:\n- hume\n",
    )
    share.main("fbank", "cnn-lstm-attention")
    assert {row["corpus"] for row in predictions()} == {"demo", "hume"}


def test_a_killed_stage_resumes_and_a_changed_parameter_starts_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(*rated_corpus(40))
    share.main("fbank", "cnn-lstm-attention")
    whole = contents()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(regression, "save", die)
        share.main("fbank", "cnn-lstm-attention")
    assert contents() == whole
    assert len(list(Path(".scratch").glob("*/last.safetensors"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Epoch, "run", die)  # nothing is left to train
        share.main("fbank", "cnn-lstm-attention")
    assert contents() == whole
    edit("attention_scale: sqrt", "attention_scale: width")
    share.main("fbank", "cnn-lstm-attention")
    assert contents()["model.safetensors"] != whole["model.safetensors"]


def test_users_errors_are_one_line(project: Path) -> None:
    clips, roles, frames = rated_corpus(20)
    write_project(clips, roles, frames)
    with pytest.raises(PipelineError, match=r"embeddings/mfcc/demo\.h5"):
        share.main("mfcc", "cnn-lstm")
    edit("attention_scale: sqrt", "attention_scale: cube")
    with pytest.raises(PipelineError, match=r"share\.model\.attention_scale must be"):
        share.main("fbank", "cnn-lstm")
    edit("attention_scale: cube", "attention_scale: sqrt")
    edit("\n  layer: last\n  model:", "\n  layer: -3\n  model:")
    with pytest.raises(PipelineError, match="no layer -3"):
        share.main("fbank", "cnn-lstm")


def test_the_challenge_s_layout_gives_scores_on_devel_and_a_submission(project: Path) -> None:
    """From Hume-Prosody in miniature to its results: devel is scored, the masked test predicted."""
    lab = Path("data/raw/emotion-share/lab")
    lab.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("devel", 6), ("test", 3)):
        lines = [f"filename,{','.join(PERCEPTS).title()}"]
        for number in range(count):
            name = f"{part}_{number:02d}.wav"
            record(lab.parent / "wav" / name)
            cells = ["?"] * 9 if part == "test" else [f"{x:.2f}" for x in rng.uniform(size=9)]
            lines.append(",".join([name, *cells]))
        (lab / f"{part}.csv").write_text("\n".join(lines) + "\n", "utf-8")
    with_preset("emotion-share")
    preprocess.main("emotion-share")
    split.main()
    encoder.main("fbank")
    extract.main("fbank", "emotion-share")
    share.main("fbank", "cnn-lstm-attention")
    evaluate.main()
    roles = Counter((row["role"], bool(row["true_anger"])) for row in predictions())
    assert roles == {("dev", True): 2, ("test", True): 6, ("test", False): 3}
    with (OUT / "submission.csv").open(encoding="utf-8", newline="") as file:
        submitted = list(csv.DictReader(file))
    assert [row["filename"] for row in submitted] == [f"test_{n:02d}.wav" for n in range(3)]
    assert list(submitted[0])[1:] == ",".join(PERCEPTS).title().split(",")
    found = json.loads(Path("results/scores.json").read_text("utf-8"))
    assert found["share"]["fbank"]["cnn-lstm-attention"]["utterances"] == 6
    assert found["protocol"]["speaker_independent"] is False  # no speaker is named
    emotions = Path("results/tables/share-emotions.csv").read_text("utf-8").splitlines()
    assert emotions[-1].startswith("published baseline,,0.5,,0.428,0.545,0.559,")


def with_preset(name: str) -> None:
    """The preset in params.yaml, small enough for a test."""
    overlay = YAML(typ="safe").load((ROOT / f"presets/{name}.yaml").read_text("utf-8"))
    overlay |= {"features": ["fbank"], "runtime": {"workers": 0}}
    overlay["share"] |= {"features": ["fbank"], "heads": ["cnn-lstm-attention"]}
    overlay["share"]["model"] |= {"conv": [8], "lstm_width": 8}
    overlay["share"]["training"] |= {"epochs": 1}
    text = io.StringIO()
    YAML().dump(overlay, text)
    Path("params.yaml").write_text(merged((ROOT / "params.yaml").read_text(), text.getvalue()))
    params.read.cache_clear()


def test_help_answers_without_torch() -> None:
    code = "import sys, stages.share; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
