"""Presets: each of the three systems is a valid params.yaml, and its stages exist."""

import copy
import functools
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipeline.cli import preset
from pipeline.encoders.hub import Pin
from pipeline.ground import code, documents, params
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load
from stages import plan
from tests.sections import ANY, declared

ROOT = code.ROOT
BASE = (ROOT / "params.yaml").read_text("utf-8")
NAMES = sorted({path.stem for path in (ROOT / "presets").glob("*.yaml")} - {"demo"})
STAGES = {
    "gmp-atl": {
        "multitask@4",
        "cluster@0",
        "retrain@4",
        "finetune@emotion-full-0",
        "finetune-adapted@emotion-full-4",
    },
    "efficient-finetuning": {
        "finetune@emotion-full-4",
        "finetune@emotion-lora-qkv-0",
        "finetune-cached@emotion-hubert-large-lora-classifier-4",
        "preprocess@tess",
    },
    "emodb": {"finetune-cached@emotion-mfcc-linear-4", "finetune-adapted@emotion-full-4"},
    "acted-shares": {
        "networks@share-fbank-cnn-lstm-0",
        "networks@share-fbank-cnn-lstm-attention-0",
    },
    "ravdess": {
        "finetune-cached@emotion-compare-linear-5",
        "finetune-adapted@emotion-full-5",
        "crnn@emotion-logmel-5",
    },
    "iemocap-dimensions": {"finetune-cached@affect-hubert-base-linear-4", "finetune@affect-full-0"},
    "crema-d-votes": {"finetune-cached@heard-hubert-base-frozen-4", "finetune@heard-full-0"},
    "msp-podcast": {"finetune-cached@heard-wavlm-large-linear-0", "finetune@emotion-full-0"},
    "msp-podcast-dimensions": {"finetune@affect-full-0", "extract@wavlm-large-msp-podcast"},
    "emotion-share": {"networks@share-fbank-cnn-lstm-0", "extract@wav2vec2-large-emotion-share"},
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
    with Repo(str(tmp_path)) as repo:
        listed = {stage.name for stage in repo.index.stages}
    assert listed >= STAGES[name]
    assert not any("demo" in stage for stage in listed)


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
    after = preset.merged(
        BASE, "multitask: {learning_rate: 1e-5}\ntask: {emotion: {merge:\n {a: b}}} # x\n"
    )
    assert re.search(r"^  learning_rate: 1e-5 +# \[paper\]", after, re.M)
    assert "# x" not in after


def test_an_overlay_may_not_invent_keys() -> None:
    with pytest.raises(PipelineError, match=r"cluster\.scale: params\.yaml has no such key"):
        preset.merged(BASE, "cluster:\n  scale: 3\n")


# Each takes tenths of a second, and its result follows from the texts alone.
PARSED, MERGED = functools.cache(documents.parse), functools.cache(preset.merged)


@pytest.fixture
def presets(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project with params.yaml and the presets as shipped, known to no Git."""
    monkeypatch.setattr(documents, "parse", PARSED)
    monkeypatch.setattr(preset, "merged", MERGED)
    shutil.copytree(ROOT / "presets", project / "presets")
    (project / "params.yaml").write_text(BASE, "utf-8")
    return project / "params.yaml"


def take(name: str) -> dict[str, object]:
    params.read.cache_clear()
    preset.main(name)
    return documents.read(Path("params.yaml"))


def test_the_shipped_base_is_the_committed_file() -> None:
    assert (ROOT / "presets/demo.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_no_preset_leaves_a_trace_of_another(presets: Path) -> None:
    fresh = {}
    for name in ["demo", *NAMES]:
        presets.write_text(BASE, "utf-8")
        fresh[name] = (take(name), presets.read_text("utf-8"))
    assert fresh["demo"][1] == BASE
    for first, second in itertools.permutations(fresh, 2):
        presets.write_text(fresh[first][1], "utf-8")
        assert take(second) == fresh[second][0], (first, second)
        assert presets.read_text("utf-8") == fresh[second][1], (first, second)


def test_what_is_the_users_own_stays_and_the_rest_is_shown(
    presets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BASE.replace("\ncorpus:\n", "\ncorpus:\n  mine:  # of 2024\n    parser: table\n")
    text = text.replace(
        "    parser: table\n  demo:", "    parser: table\n    language: pl\n  demo:"
    )
    text = text.replace("sha256: ''        # not pinned here", f"sha256: {'a' * 64}", 1)
    text = text.replace("    merge: {}\n", "    merge:\n      bored: neutral\n")
    text = text.replace("workers: 2 ", "workers: 7 ").replace(
        "learning_rate: 2e-4", "learning_rate: 0.3"
    )
    text = text.replace("numerics_version: 1", "numerics_version: 4")
    presets.write_text(text, "utf-8")
    found = take("gmp-atl")
    said = capsys.readouterr().out
    presets.write_text(BASE, "utf-8")
    wanted = copy.deepcopy(take("gmp-atl"))
    wanted["corpus"]["mine"] = {"parser": "table", "language": "pl"}  # type: ignore[index]
    wanted["encoder"]["hubert-large"]["sha256"] = "a" * 64  # type: ignore[index]
    wanted["runtime"]["workers"] = 7  # type: ignore[index]
    wanted["numerics_version"] = 4
    assert found == wanted
    assert found["task"]["emotion"]["merge"] == {"excited": "happy"}  # type: ignore[index]
    for line in (
        "-      bored: neutral",
        "-  learning_rate: 0.3 # [paper] 1e-4, for a pretrained encoder",
    ):
        assert line in said.splitlines()
    assert said.splitlines()[-1] == (
        "yours, kept: numerics_version, runtime, corpus.mine, encoder.hubert-large"
    )


LAUGHS = "encoders:\n- &l0 [lol]\n" + "".join(
    f"- &l{i} [{','.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
HOSTILE = {
    "a tag of Python": "seed: !!python/object/apply:os.system ['touch canary']",
    "a tag": "seed: !evil 3",
    "laughs": LAUGHS,
    "an alias to itself": "task: &t {merge: *t}",
    "a list in itself": "corpora: &c [*c]",
    "deep": "seed: " + "[" * 5000 + "]" * 5000,
    "rather deep": "task: {merge: " + "{a: " * 200 + "1" + "}" * 200 + "}",
    "empty": "",
    "a list at the top": "- 1",
    "a word": "hello",
    "null": "null",
    "duplicate keys": "seed: 1\nseed: 2",
    "NUL": "seed: \x00",
    "two documents": "seed: 1\n---\nseed: 2",
    "a key of a number": "1: 2",
    "a key of a list": "? [a, b]\n: 1",
    "a section as a number": "runtime: 3",
    "a number as a section": "seed: {a: 1}",
    "a list as a section": "corpora: {a: 1}",
    "null as a section": "task:",
    "tab": "seed:\t1\n\tx: 2",
    "a date": "seed: 2020-01-01",
    "binary": "seed: !!binary aGVsbG8=",
    "a set": "corpora: !!set {a, b}",
    "unclosed": "seed: [1",
    "a float without end": "seed: 1e999999",
    "an int without end": "seed: " + "9" * 5000,
    "a hexadecimal int without end": "seed: 0x" + "f" * 100_000,
    "a fold of nothing": "folds: [null]",
    "a negative fold": "folds: [-1]",
    "a huge fold": "folds: [99999999999999999999]",
    "a fold of text": "folds: ['0']",
    "one fold twice": "folds: [0, 0]",
    "a path": "corpora: ['../../etc']",
    "markup": "corpora: ['<script>alert(1)</script>']",
    "a shell's words": "features: ['fbank; touch canary']",
    "an encoder's name": "pretrained: '$(touch canary)'",
    "a method": "methods: {cached: [full]}",
    "an unknown key": "cluster: {scale: 3}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_overlay_is_one_line_and_writes_nothing(presets: Path, text: str) -> None:
    Path("presets/evil.yaml").write_text(f"{text}\n", "utf-8")
    with pytest.raises(PipelineError) as caught:
        take("evil")
    said = str(caught.value)
    assert said.startswith("presets/evil.yaml: ")
    assert "\n" not in said and len(said) < 400
    assert presets.read_text("utf-8") == BASE
    assert not Path("canary").exists()


def test_an_overlay_that_is_not_utf8_is_one_line(presets: Path) -> None:
    Path("presets/evil.yaml").write_bytes(b"seed: \xff\n")
    with pytest.raises(PipelineError, match=r"not valid YAML 1\.2"):
        take("evil")
