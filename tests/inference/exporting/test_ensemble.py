"""`ser export` of an ensemble: one folder, anywhere, that says what its row in the scores says."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.special import softmax

from pipeline.audio.segments import Cutting
from pipeline.cli import export
from pipeline.corpora import manifest
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.inference import answers, api, judge, listening
from pipeline.inference.exporting import ensemble
from pipeline.inference.listening import Manner
from pipeline.methods import calibration
from tests import toy

MEMBERS = ["emotion/fbank/linear", "emotion/tiny/frozen"]


def configure(weights: str) -> None:
    yaml, path = YAML(), Path("params.yaml")
    found: Any = yaml.load(path.read_text("utf-8"))
    found |= {"folds": [0], "adapted": [], "features": ["fbank", "tiny"]}
    found["encoders"] = ["tiny", "fbank"]
    found["methods"] = {"cached": ["linear", "frozen"], "pretrained": [], "retrained": []}
    told = {"both": {"members": MEMBERS, "weights": weights}}
    found["evaluate"]["ensembles"] = told
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(found, file)
    params.read.cache_clear()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one to three clips, and a classifier of each method, fold 0."""
    root = tmp_path_factory.mktemp("toy")
    shutil.copy(params.PARAMS_FILE.absolute(), root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params.read.cache_clear()
        toy.run_stages()
    return root


@pytest.fixture
def project(trained: Path, project: Path) -> Path:
    shutil.copytree(trained, project, dirs_exist_ok=True)
    params.read.cache_clear()
    return project


@pytest.mark.parametrize("weights", ["equal", "dev"])
def test_it_says_of_every_recording_what_the_row_says(
    project: Path,
    weights: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    configure(weights)
    chosen = ensemble.named("both", None)
    assert chosen
    row = chosen.fused.said(chosen.fused.tested)
    export.main(Path("both"), Path("out"))
    assert json.loads(Path("out/ensemble.json").read_text()) == {"weights": chosen.weights}
    sources = {c.utterance: c.source for c in manifest.read(["toy"])}
    several = [c.utterance for c in manifest.read(["toy"]) if c.start_s > 0]
    assert set(several) & set(row.utterance.tolist())  # means over clips are taken before the mix
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree("out", elsewhere / "out")
    monkeypatch.chdir(elsewhere)
    params.read.cache_clear()
    model = api.load("out")
    for name, logits in zip(row.utterance.tolist(), row.guess, strict=True):
        heard = api.predict(model, project / "data/raw/toy" / sources[name])
        told = heard.whole.probabilities
        np.testing.assert_allclose(list(told.values()), softmax(logits), rtol=2e-4, atol=1e-5)


def test_its_card_passport_and_calibration_are_its_own(project: Path) -> None:
    configure("equal")
    export.main(Path("both"), Path("out"), fold=0)
    told = json.loads(Path("out/model.json").read_text())
    assert told["name"] == "emotion/ensemble/both/0" and told["method"] == "ensemble"
    assert told["encoder"]["name"] == "fbank, tiny"
    card = Path("out/README.md").read_text("utf-8")
    assert "It averages `emotion/fbank/linear/0` (0.5), `emotion/tiny/frozen/0` (0.5)." in card
    scale = calibration.read(Path("out"))
    assert scale and scale.temperature == 1
    chosen = ensemble.named("both", 0)
    assert chosen and chosen.fused.dev
    dev = chosen.fused.said(chosen.fused.dev)
    hits = dev.guess.argmax(1) == dev.truth
    assert scale.covers[0].accuracy == pytest.approx(hits.mean(), abs=1e-4)
    one = answers.among(judge.load(Path("out"), "cpu"), ["sad", "angry"])
    file = Path("data/raw/toy/00.wav")
    cutting = listening.cutting_of(Path("out"))[0]
    few = listening.listen(one, file, Manner(cutting)).whole.probabilities
    whole = listening.listen(judge.load(Path("out"), "cpu"), file, Manner(cutting))
    every = whole.whole.probabilities
    total = every["sad"] + every["angry"]
    assert few == pytest.approx({n: every[n] / total for n in ("sad", "angry")}, rel=1e-4)


def test_a_graph_for_each_member_says_the_same(project: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    configure("dev")
    export.main(Path("both"), Path("out"), onnx=True, int8=True)
    for name in ("member-0", "member-1"):
        assert "model.onnx" in Path("out", name, "SHA256SUMS").read_text()
    one, other = (api.load("out", "cpu", name) for name in ("torch", "onnx"))
    for file in sorted(Path("data/raw/toy").glob("*.wav")):
        told, again = (api.predict(model, file) for model in (one, other))
        assert again.whole.probabilities == pytest.approx(told.whole.probabilities, abs=1e-4)
    api.load("out", "cpu", "onnx-int8")
    place = Path("out/member-1/model.onnx")
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.raises(PipelineError, match=r"member-1/model\.onnx: damaged"):
        judge.load(Path("out"), "cpu", "onnx")


def test_what_cannot_be_exported_is_one_line(project: Path) -> None:
    configure("equal")
    with pytest.raises(PipelineError, match="--fold 1: use one that both has: 0"):
        export.main(Path("both"), Path("out"), fold=1)
    with pytest.raises(PipelineError, match=r"^neither: no "):
        export.main(Path("neither"), Path("out"))
    with pytest.raises(PipelineError, match="--fold: of an ensemble"):
        export.main(Path("artifacts/classifiers") / MEMBERS[0] / "0", Path("out"), fold=0)
    path = Path("artifacts/classifiers") / MEMBERS[0] / "0/preprocess.json"
    (path.parent / "SHA256SUMS").unlink()
    path.write_text(path.read_text().replace("0.5", "0.75"))
    with pytest.raises(PipelineError, match="both: its members learnt from clips that were cut"):
        export.main(Path("both"), Path("out"))
    assert not Path("out").exists()


def test_a_damaged_member_or_weight_is_one_line(project: Path) -> None:
    configure("equal")
    export.main(Path("both"), Path("out"))
    place = Path("out/ensemble.json")
    text = place.read_text()
    for broken in ('{"weights": [0.5]}', '{"weights": [0.5, 0.5, 0.5]}', "{}"):
        place.write_text(broken)
        with pytest.raises(PipelineError) as caught:
            judge.load(Path("out"), "cpu")
        assert "\n" not in str(caught.value)
    place.write_text(text)
    Path("out/member-1/model.safetensors").unlink()
    with pytest.raises(PipelineError, match="member-1"):
        judge.load(Path("out"), "cpu")


def test_a_desk_or_a_lock_before_it_changes_nothing_it_says(project: Path) -> None:
    configure("equal")
    chosen = ensemble.named("both", 0)
    assert chosen
    one, file = ensemble.judge_of(chosen), Path("data/raw/toy/00.wav")
    asked: list[int] = []

    def rows(waves: Any) -> Any:
        asked.append(len(waves))
        return one.rows(waves)

    manner = Manner(Cutting(max_clip_s=0.3, last_clip="shorter", trim_db=None))
    through = listening.listen(one.through(rows), file, manner)
    assert through.whole == listening.listen(one, file, manner).whole
    assert len(asked) > 1
