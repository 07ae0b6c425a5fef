"""Presets: each of the three systems is a valid params.yaml, and its stages exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipeline.cli import preset
from pipeline.encoders.hub import Pin
from pipeline.ground import code, params
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load
from stages import plan
from tests.sections import ANY, declared

ROOT = code.ROOT
BASE = (ROOT / "params.yaml").read_text("utf-8")
NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
STAGES = {
    "gmp-atl": {
        "multitask@4",
        "cluster@0",
        "retrain@4",
        "finetune@full-0",
        "finetune-adapted@full-4",
    },
    "efficient-finetuning": {
        "finetune@full-4",
        "finetune@lora-qkv-0",
        "finetune-cached@hubert-large-lora-classifier-4",
        "preprocess@tess",
    },
    "emodb": {"finetune-cached@mfcc-linear-4", "finetune-adapted@full-4"},
    "acted-shares": {"share@fbank-cnn-lstm", "share@fbank-cnn-lstm-attention"},
    "ravdess": {"finetune-cached@compare-linear-5", "finetune-adapted@full-5", "crnn@logmel-5"},
    "emotion-share": {"share@fbank-cnn-lstm", "extract@wav2vec2-large-emotion-share"},
}


@pytest.mark.parametrize("name", ["", *NAMES])
def test_every_section_of_a_preset_is_valid(project: Path, name: str) -> None:
    overlay = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8") if name else "{}"
    Path("params.yaml").write_text(preset.merged(BASE, overlay), "utf-8")
    params.read.cache_clear()
    for pattern, kind in declared():
        above, *below = ".".join(pattern).split(f".{ANY}", 1)
        # Of a name that users choose: each that there is.
        chosen = load(above, dict[str, object]) if below else [""]
        for one in chosen:
            if kind is not Pin or load(f"encoder.{one}.kind", str) == "hub":
                load(f"{above}.{one}{below[0]}" if below else above, kind)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_plan_accepts_the_lists_of_a_preset(project: Path, name: str) -> None:
    overlay = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8") if name else "{}"
    Path("params.yaml").write_text(preset.merged(BASE, overlay), "utf-8")
    params.read.cache_clear()
    for corpus in load("corpora", list[str]):
        (Path("data/raw") / corpus).mkdir(parents=True)
    plan.main()
    assert json.loads(Path("artifacts/plan/corpora.json").read_text()) == load("corpora", list)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_its_stages(tmp_path: Path, name: str) -> None:
    for file in ("dvc.yaml", ".dvc/config"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    overlay = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8")
    (tmp_path / "params.yaml").write_text(preset.merged(BASE, overlay), "utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["dvc", "stage", "list", "--name-only"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) >= STAGES[name]
    assert not any("demo" in stage for stage in listed.stdout.split())


@pytest.mark.parametrize("name", NAMES)
def test_comments_and_untouched_values_stay(name: str) -> None:
    overlay = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8")
    after = preset.merged(BASE, overlay)
    assert preset.merged(BASE, "{}") == BASE
    headings = re.findall(r"^#.*$", BASE, re.M)
    assert [line for line in headings if line not in after] == []
    yaml = YAML(typ="safe")
    old, new, wanted = yaml.load(BASE), yaml.load(after), yaml.load(overlay)
    for key in old:
        if key not in wanted:
            assert new[key] == old[key], key


@pytest.mark.parametrize("name", ["", *NAMES])
def test_an_experiment_changes_one_line_of_params(tmp_path: Path, name: str) -> None:
    # `dvc exp run -S` writes the file anew, in its own style, and drops comments after lists.
    overlay = (ROOT / "presets" / f"{name}.yaml").read_text("utf-8") if name else "{}"
    before = preset.merged(BASE, overlay)
    path = tmp_path / "params.yaml"
    path.write_text(before, "utf-8")
    apply_overrides(path, ["finetune.loss.scale=7.5"])
    pairs = zip(before.splitlines(), path.read_text("utf-8").splitlines(), strict=True)
    changed = [new.split() for old, new in pairs if old != new]
    assert [line[:2] for line in changed] == [["scale:", "7.5"]]


def test_numbers_keep_their_notation_and_comments_of_the_overlay_stay_behind() -> None:
    after = preset.merged(BASE, "multitask: {learning_rate: 1e-5}\ntask:\n  merge:\n    a: b # x\n")
    assert re.search(r"^  learning_rate: 1e-5 +# \[paper\]", after, re.M)
    assert "# x" not in after


def test_an_overlay_may_not_invent_keys() -> None:
    with pytest.raises(PipelineError, match=r"no key cluster\.scale"):
        preset.merged(BASE, "cluster:\n  scale: 3\n")
