"""networks: from cached frames to regressors and their predictions, in one command."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.stats import spearmanr

from pipeline.cli.preset import merged
from pipeline.demo.listeners import PERCEPTS
from pipeline.embeddings.reader import Embeddings
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.inference.judge import on_embeddings
from pipeline.methods.features import Features
from pipeline.methods.networks import regression
from pipeline.training.epoch import Epoch
from stages import encoder, evaluate, extract, networks, preprocess, split
from tests.conftest import ROOT
from tests.ratings import EMOTIONS, rated_corpus, write_project
from tests.recordings import record

OUT = Path("artifacts/classifiers/share/fbank/cnn-lstm-attention/0")


def edit(old: str, new: str) -> None:
    path = Path("params.yaml")
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    params.read.cache_clear()


@pytest.fixture(autouse=True)
def two_epochs(project: Path) -> None:
    before, section = Path("params.yaml").read_text("utf-8").split("\nnetworks:")
    section = re.sub(r"(\n    epochs:) \d+", r"\1 2", section, count=1)
    emotions = "".join(f"    - {name}\n" for name in EMOTIONS)
    before = re.sub(r"(?<=    emotions:\n)(    - .*\n)+", emotions, before)
    Path("params.yaml").write_text(f"{before}\nnetworks:{section}", "utf-8")


def contents(folder: Path = OUT) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def predictions(folder: Path = OUT) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_writes_models_predictions_and_curves(project: Path) -> None:
    clips, roles, frames = rated_corpus(40)
    masked = [replace(c, shares={}) if row == 4 else c for row, c in enumerate(clips)]
    write_project(masked, roles, frames)
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    first = contents()
    rows = predictions()
    assert [row["utterance"] for row in rows] == [
        c.utterance for c in clips if roles[c.clip] != "train"
    ]
    assert {row["role"] for row in rows} == {"dev", "test"}
    assert [row["true_anger"] == "" for row in rows] == [r["utterance"] == "demo/004" for r in rows]
    assert all(0 < float(row["predicted_calmness"]) < 1 for row in rows)
    assert first["submission.csv"].decode().splitlines()[0] == "filename,Anger,Calmness,Interest"
    design = json.loads(first["networks.json"])
    assert (design["version"], design["classes"], design["joint"]) == (3, list(EMOTIONS), False)
    assert (design["means"], design["deviations"], design["output"]) == (
        [0] * 3,
        [1] * 3,
        "sigmoid",
    )
    assert not list(Path(".scratch").glob("*/*.safetensors"))
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert contents() == first


GOLDEN = Path(__file__).with_name("regressors.csv")


@pytest.mark.parametrize("regressors", ["separate", "joint"])
@pytest.mark.parametrize("method", ["cnn-lstm", "cnn-lstm-attention"])
def test_shares_are_told_as_before_they_were_a_task(
    project: Path, method: Any, regressors: str
) -> None:
    """By the stage `share` of commit cecc29f, on this corpus and with these two epochs."""
    write_project(*rated_corpus(30))
    edit("regressors: separate", f"regressors: {regressors}")
    networks.main("share", "fbank", method, 0)
    told = csv.DictReader(GOLDEN.open(encoding="utf-8", newline=""))
    expected = [row for row in told if (row["method"], row["regressors"]) == (method, regressors)]
    found = predictions(OUT.parents[1] / method / "0")
    assert [row["utterance"] for row in found] == [row["utterance"] for row in expected]
    for name in EMOTIONS:
        ours = [float(row[f"predicted_{name}"]) for row in found]
        # Another seed, order or start is further away; another CPU rounds otherwise.
        np.testing.assert_allclose(ours, [float(row[name]) for row in expected], atol=1e-4)


@pytest.mark.parametrize("loss", ["ccc", "mse", "mae"])
@pytest.mark.parametrize("regressors", ["separate", "joint"])
def test_dimensions_are_learnt_in_their_own_range(
    project: Path, loss: str, regressors: str
) -> None:
    clips, roles, frames = rated_corpus(100)
    rated = [
        replace(c, dimensions={"arousal": 1 + 6 * c.shares["anger"], "valence": 300.0 - n % 7})
        for n, c in enumerate(clips)
    ]
    write_project(rated, roles, frames)
    edit("loss: ccc", f"loss: {loss}")
    edit("regressors: separate", f"regressors: {regressors}")
    text = Path("params.yaml").read_text("utf-8")
    before, section = text.split("\nnetworks:")
    section = section.replace("epochs: 2", "epochs: 12", 1).replace("2e-3", "1e-2", 1)
    Path("params.yaml").write_text(f"{before}\nnetworks:{section}", "utf-8")
    params.read.cache_clear()
    networks.main("affect", "fbank", "cnn-lstm", 0)
    folder = Path("artifacts/classifiers/affect/fbank/cnn-lstm/0")
    rows = [row for row in predictions(folder) if row["role"] == "test"]
    truth, guess = (
        np.array([float(row[f"{kind}_arousal"]) for row in rows]) for kind in ("true", "predicted")
    )
    assert spearmanr(truth, guess).statistic > 0.7
    assert all(290 < float(row["predicted_valence"]) < 310 for row in rows)
    train = [c.dimensions["arousal"] for c in rated if roles[c.clip] == "train"]
    design = json.loads((folder / "networks.json").read_text("utf-8"))
    assert design["means"][0] == pytest.approx(np.mean(train))
    assert design["deviations"][0] == pytest.approx(np.std(train))
    assert design["output"] == "linear"


@pytest.mark.parametrize("name", ["networks.json", "features.json"])
def test_a_folder_of_an_earlier_version_is_refused_with_the_remedy(
    project: Path, name: str
) -> None:
    write_project(*rated_corpus(20))
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    shutil.copytree(OUT, "old", ignore=shutil.ignore_patterns("SHA256SUMS"))
    told = json.loads(Path("old", name).read_text("utf-8"))
    Path("old", name).write_text(json.dumps(told | {"version": 2}), "utf-8")
    with pytest.raises(PipelineError, match=r"not written by this version \(version: .* got 2\)"):
        on_embeddings(Path("old"), Features.read(Path("old")))


def test_a_task_of_classes_is_refused(project: Path) -> None:
    write_project(*rated_corpus(20))
    with pytest.raises(PipelineError, match="its networks tell values, and no classes, remove it"):
        networks.main("emotion", "fbank", "cnn-lstm", 0)


def test_nothing_about_test_clips_reaches_the_model(project: Path) -> None:
    clips, roles, frames = rated_corpus(40)
    write_project(clips, roles, frames)
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    honest = contents()["model.safetensors"]
    for clip in clips:
        if roles[clip.clip] == "test":
            frames[clip.clip] = 100 - frames[clip.clip]
            clip.shares.update(anger=1 - clip.shares["anger"])
    write_project(clips, roles, frames)
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert contents()["model.safetensors"] == honest


def test_corpora_are_pooled_and_an_inactive_one_is_not_read(project: Path) -> None:
    clips, roles, frames = rated_corpus(20)
    more, more_roles, more_frames = rated_corpus(20, "hume", seed=1)
    write_project(clips + more, roles | more_roles, frames | more_frames)
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert {row["corpus"] for row in predictions()} == {"demo"}
    edit(
        "corpora:\n",
        "corpora:\n- hume\n",
    )
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert {row["corpus"] for row in predictions()} == {"demo", "hume"}


def test_a_killed_stage_resumes_and_a_changed_parameter_starts_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(*rated_corpus(40))
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    whole = contents()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(regression, "save", die)
        networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert contents() == whole
    assert len(list(Path(".scratch").glob("*/last.safetensors"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Epoch, "run", die)  # nothing is left to train
        networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert contents() == whole
    edit("attention_scale: sqrt", "attention_scale: width")
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
    assert contents()["model.safetensors"] != whole["model.safetensors"]


def test_users_errors_are_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, roles, frames = rated_corpus(20)
    write_project(clips, roles, frames)
    with monkeypatch.context() as patch:
        patch.setattr(Embeddings, "hop_s", 0.0)
        with pytest.raises(PipelineError, match=r"networks\.features has 'fbank', which makes one"):
            networks.main("share", "fbank", "cnn-lstm", 0)
    with pytest.raises(PipelineError, match=r"embeddings/mfcc/demo\.h5"):
        networks.main("share", "mfcc", "cnn-lstm", 0)
    edit("attention_scale: sqrt", "attention_scale: cube")
    with pytest.raises(PipelineError, match=r"networks\.model\.attention_scale must be"):
        networks.main("share", "fbank", "cnn-lstm", 0)
    edit("attention_scale: cube", "attention_scale: sqrt")
    edit("\nnetworks:\n  layer: last", "\nnetworks:\n  layer: -3")
    with pytest.raises(PipelineError, match="no layer -3"):
        networks.main("share", "fbank", "cnn-lstm", 0)


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
    networks.main("share", "fbank", "cnn-lstm-attention", 0)
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
    overlay["networks"] |= {"features": ["fbank"], "methods": ["cnn-lstm-attention"]}
    overlay["networks"]["model"] |= {"conv": [8], "lstm_width": 8}
    overlay["networks"]["training"] |= {"epochs": 1}
    text = io.StringIO()
    YAML().dump(overlay, text)
    Path("params.yaml").write_text(merged((ROOT / "params.yaml").read_text(), text.getvalue()))
    params.read.cache_clear()


def test_help_answers_without_torch() -> None:
    code = "import sys, stages.networks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
