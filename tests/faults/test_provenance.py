"""Artefacts of another experiment in place of a stage's inputs: every stage refuses, naming both.

Each is made by its own stage under one changed parameter, and its checksums are right: what DVC
checks out after a mixed-up pull, or what a stage run by hand leaves.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from pipeline.cli.preset import merged
from pipeline.ground import params, provenance
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from tests.faults import chain
from tests.faults.chain import Step, step_of
from tests.graph import STAGES, params_of

CACHED = ("finetune_cached", "crnn", "probe", "networks")
LAST = (
    "finetune --task emotion --start pretrained",
    "finetune --task emotion --start retrained",
    *CACHED,
)

# What is changed, the stage that then makes the artefact anew, who reads it, and what is told.
SWAPPED = [
    ("preprocess: {max_clip_s: 0.4}", "preprocess", ("split", "extract --encoder"), "max_clip_s"),
    ("encoder: {fbank: {bands: 9}}", "encoder --name fbank", ("extract --encoder",), "bands"),
    (
        "encoder: {untrained: {feed_forward: 12}}",
        "encoder --name untrained",
        ("multitask", "retrain", "finetune --task emotion --start pretrained"),
        "feed_forward",
    ),
    (
        "split: {by: speaker, count: 4}",
        "split",
        ("multitask", "extract --fold", "cluster", "retrain", *LAST, "evaluate"),
        "count",
    ),
    (
        "extract: {dtype: float32}",
        "extract --encoder",
        CACHED,
        "dtype",
    ),
    ("multitask: {emotion_weight: 0.5}", "multitask", ("extract --fold",), "emotion_weight"),
    ("frames: {layer: -2}", "extract --fold", ("cluster",), "layer"),
    ("cluster: {iterations: 2}", "cluster", ("retrain", "evaluate"), "iterations"),
    (
        "retrain: {mask_length: 4}",
        "retrain",
        ("finetune --task emotion --start retrained",),
        "mask_length",
    ),
    (
        "finetune: {loss: {margin: 0.1}}",
        "finetune --task emotion --start pretrained",
        ("evaluate",),
        "margin",
    ),
    (
        "finetune: {loss: {margin: 0.1}}",
        "finetune --task emotion --start retrained",
        ("evaluate",),
        "margin",
    ),
    (
        "finetune: {methods: {linear: {c: [2.0]}}}",
        "finetune_cached",
        ("stress", "evaluate"),
        "linear.c",
    ),
    ("stress: {conditions: [telephone]}", "stress", ("evaluate",), "conditions"),
    ("crnn: {augmentation: {speed: 0.1}}", "crnn", ("evaluate",), "speed"),
    ("probe: {points: 20}", "probe", ("evaluate",), "points"),
    ("networks: {training: {batch: 3}}", "networks", ("evaluate",), "batch"),
]


@pytest.mark.parametrize(
    ("overlay", "maker", "readers", "named"), SWAPPED, ids=[f"{s[1]}" for s in SWAPPED]
)
def test_an_artefact_of_other_parameters_is_refused(
    copied: Path, overlay: str, maker: str, readers: tuple[str, ...], named: str
) -> None:
    path = copied / "params.yaml"
    ours, made = path.read_text("utf-8"), step_of(maker)
    path.write_text(merged(ours, overlay), "utf-8")
    status, told = chain.run(copied, made)
    assert status == 0, told
    path.write_text(ours, "utf-8")
    for reader in readers:
        before = chain.contents(copied, step_of(reader))
        status, told = chain.run(copied, step_of(reader))
        assert status == 1, (reader, told)
        line = told.splitlines()[-1]
        artefact = made.outputs[0]
        assert line.startswith(f"{artefact}: made with ") and named in line, (reader, line)
        assert line.endswith("run `dvc repro`") and "params.yaml has" in line
        assert chain.contents(copied, step_of(reader)) == before


@pytest.mark.parametrize(
    ("maker", "link", "reader"),
    [
        ("split", "artifacts/units/0", "retrain"),
        ("multitask", "artifacts/frames/0.h5", "cluster"),
        ("cluster", "artifacts/retrained/0", "finetune --task emotion --start retrained"),
        ("encoder --name untrained", "artifacts/multitask/0", "extract --fold"),
    ],
)
def test_an_artefact_of_other_inputs_is_refused(
    copied: Path, maker: str, link: str, reader: str
) -> None:
    """Made anew with the same parameters from other recordings or weights, behind its reader."""
    made = step_of(maker)
    other = {
        "split": "artifacts/folds.csv",
        "multitask": "artifacts/multitask/0",
        "cluster": "artifacts/units/0",
        "encoder --name untrained": "artifacts/encoders/untrained",
    }[maker]
    assert other in made.outputs
    target = copied / other
    sums = target / "SHA256SUMS" if target.is_dir() else Path(f"{target}.sha256")
    # As if another machine, or an older version of the stage, had made it.
    lines = sums.read_text("utf-8").splitlines()
    sums.write_text("\n".join([f"{'0' * 64}  extra", *lines]) + "\n", "utf-8")
    status, told = chain.run(copied, step_of(reader))
    assert (status, told.splitlines()[-1]) == (
        1,
        f"{link}: made from another {other} than lies there, run `dvc repro`",
    )


# The way from a fold's own encoder to its classifiers, and who reads each step.
FOLD_1 = {
    "artifacts/multitask/0": "extract --fold",
    "artifacts/frames/0.h5": "cluster",
    "artifacts/units/0": "retrain",
    "artifacts/retrained/0": "finetune --task emotion --start retrained",
    "artifacts/classifiers/emotion/retrained/full/0": "evaluate",
    "artifacts/classifiers/emotion/fbank/linear/0": "evaluate",
    "artifacts/classifiers/emotion/fbank/crnn/0": "evaluate",
    "artifacts/classifiers/share/fbank/cnn-lstm-attention/0": "evaluate",
}


@pytest.fixture(scope="module")
def with_fold_1(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which those stages have run for a second fold."""
    project = chain.copy(reference, tmp_path_factory.mktemp("folds") / "project")
    for step in chain.STEPS:
        if set(step.outputs) & set(FOLD_1):
            command = step.command.replace("--fold 0", "--fold 1")
            status, told = chain.run(project, Step(command, ()))
            assert status == 0, told
    return project


@pytest.mark.parametrize(("artefact", "reader"), FOLD_1.items())
def test_another_folds_artefact_is_refused(
    with_fold_1: Path, tmp_path: Path, artefact: str, reader: str
) -> None:
    """Another fold's training clips are this one's test clips: what saw them must not be used."""
    project = chain.copy(with_fold_1, tmp_path / "project")
    place, step = project / artefact, step_of(reader)
    other = place.with_name(place.name.replace("0", "1"))
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    other.rename(place)
    before = chain.contents(project, step)
    status, told = chain.run(project, step)
    name = artefact.removeprefix("artifacts/")
    held = f"{name.rpartition('/')[0]}/{other.name}"
    line = f"{artefact}: holds {held}, expected {name}, run `dvc repro`"
    assert (status, told.splitlines()[-1]) == (1, line)
    assert chain.contents(project, step) == before


def place_of(project: Path, step: Step) -> Path:
    """Where the provenance of what a step writes lies."""
    path = project / step.outputs[0]
    name = "provenance.json"
    return path / name if path.is_dir() else path.with_name(f"{path.name}.{name}")


def rewrite(project: Path, step: Step, text: str) -> Path:
    """Put ``text`` in the place of what the step's output carries; checksums stay right."""
    path, place = project / step.outputs[0], place_of(project, step)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["provenance"] = text
        return path.relative_to(project)
    place.write_text(text, "utf-8")
    if (path / "SHA256SUMS").is_file():
        lines = (path / "SHA256SUMS").read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.endswith(f"  {place.name}")]
        digest = hashlib.sha256(text.encode()).hexdigest()
        (path / "SHA256SUMS").write_text("\n".join([*kept, f"{digest}  {place.name}"]) + "\n")
    return place.relative_to(project)


# Every kind of artefact and one that reads it.
READ = {
    "preprocess": "split",
    "encoder --name untrained": "multitask",
    "encoder --name fbank": "extract --encoder",
    "split": "cluster",
    "extract --encoder": "networks",
    "multitask": "extract --fold",
    "extract --fold": "cluster",
    "cluster": "evaluate",
    "retrain": "finetune --task emotion --start retrained",
    "finetune --task emotion --start pretrained": "evaluate",
    "finetune_cached": "evaluate",
    "crnn": "evaluate",
    "probe": "evaluate",
    "stress": "evaluate",
    "networks": "evaluate",
}


@pytest.mark.parametrize(("maker", "reader"), READ.items())
def test_every_artefact_has_the_name_of_its_place(copied: Path, maker: str, reader: str) -> None:
    step = step_of(maker)
    found, name = carried(copied, step), step.outputs[0].removeprefix("artifacts/")
    assert found["name"] == name
    other = Provenance(**{**found, "name": "another/7"})
    rewrite(copied, step, other.model_copy(update={"seal": other.sealed()}).text())
    status, told = chain.run(copied, step_of(reader))
    line = f"artifacts/{name}: holds another/7, expected {name}, run `dvc repro`"
    assert (status, told.splitlines()[-1]) == (1, line)


def shapes(good: str) -> list[str]:
    """What JSON may hold in the place of a provenance, and what is no JSON."""
    found = json.loads(good)
    changed = [{"name": 5}, {"params": []}, {"params": None}, {"inputs": "x"}, {"more": 1}]
    changed += [
        {"inputs": {"a": 1}},
        {"params": {}},
        {"inputs": {"a": "b"}},
        {"seal": ""},
        {"seal": 1},
    ]
    plain = [json.dumps(found | one) for one in changed]
    plain += [json.dumps({k: v for k, v in found.items() if k != name}) for name in found]
    plain += [good.replace('"params": {', '"params": {"seed": NaN, ', 1), "[" * 100_000]
    return [*plain, "[]", "null", "5", "{}", '"x"', "true", " ", good[:-3], good.replace("a", "b")]


@pytest.mark.parametrize("maker", ["split", "extract --encoder", "preprocess"])
def test_a_provenance_of_any_other_shape_is_one_line(
    copied: Path, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    step, reader = step_of(maker), step_of("finetune_cached")
    good, before = json.dumps(carried(copied, step)), chain.contents(copied, reader)
    monkeypatch.chdir(copied)
    params.read.cache_clear()
    assert provenance.require(Path(step.outputs[0]))
    for text in shapes(good):
        place = rewrite(copied, step, text)
        with pytest.raises(PipelineError, match=f"^{place}: .*, delete it and run `dvc repro`$"):
            provenance.require(Path(step.outputs[0]))
    status, told = chain.run(copied, reader)
    assert (status, len(told.splitlines())) == (1, 1)
    assert told.startswith(f"{place}: ")
    assert chain.contents(copied, reader) == before


def test_no_flipped_bit_of_a_provenance_passes(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a file beside another nor a long attribute of HDF5 has a checksum of its own."""
    monkeypatch.chdir(copied)
    params.read.cache_clear()
    for place, artefact in (
        (f"{chain.FOLDS}.provenance.json", chain.FOLDS),
        ("artifacts/frames/0.h5", "artifacts/frames/0.h5"),
    ):
        path = Path(place)
        good = path.read_bytes()
        text = provenance.carried(Path(artefact))
        start = good.index(b'"inputs"') - 1
        for byte in range(start, min(start + 400, len(good)), 3):
            bad = bytearray(good)
            bad[byte] ^= 1 << byte % 7
            path.write_bytes(bad)
            try:
                # What changes nothing: a blank between two words of JSON.
                assert provenance.carried(Path(artefact)) == text
            except PipelineError as error:
                assert str(error).startswith(f"{place}: ")
        path.write_bytes(good)


def carried(project: Path, step: Step) -> dict[str, Any]:
    path = project / step.outputs[0]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return dict(json.loads(file.attrs["provenance"]))
    return dict(json.loads(place_of(project, step).read_text("utf-8")))


def entry(step: Step) -> str:
    """The stage of dvc.yaml that the command is of."""
    words = step.command.split()
    fitting = [
        name
        for name, stage in STAGES.items()
        if stage["cmd"].split()[2] == f"stages.{words[0]}"
        and [w for w in stage["cmd"].split()[3:] if w.startswith("--")]
        == [w for w in words[1:] if w.startswith("--")]
        and ("retrained" in stage["cmd"].split()) == ("retrained" in words)
    ]
    (name,) = fitting
    return str(name)


# Parameters of a stage that change no byte of what it writes: how much may be rejected, a seed that
# nothing is drawn from.
# `split` only checks that each fold can train what is listed.
CHECKED = ["task", "tasks", "features", "folds", "adapted", "methods"]
CHECKED += [
    f"{stage}.{key}" for stage in ("crnn", "networks", "probe") for key in ("tasks", "features")
]
CHECKED += ["networks.methods"]
UNUSED = {
    "preprocess": {"preprocess", "seed"},
    "split": {"seed", "pretrain.corpora", *CHECKED},
    "encoder": {"seed"},
}


def test_what_is_carried_is_what_dvc_knows_of(reference: Path) -> None:
    """A key that DVC did not know would stop `dvc repro`; one that is missing would not be seen."""
    own: dict[str, set[str]] = {}
    for step in chain.STEPS[1:-1]:
        stage = entry(step)
        words = step.command.split()
        values = dict(zip([w[2:] for w in words[1::2]], words[2::2], strict=True))
        listed = set()
        for key in params_of(STAGES[stage]):
            for name, value in values.items():
                key = key.replace(f"${{item.{name}}}", value)  # noqa: PLW2901
            listed.add(key)
        found = carried(reference, step)
        before = {name for path in found["inputs"] for name in own.get(path, set())}
        folded = {key for key in found["params"] if key.split(".")[0] not in listed}
        assert folded <= listed | before, (stage, folded - listed - before)
        assert listed - set(found["params"]) <= UNUSED.get(stage, set()), stage
        is_file = step.outputs[0].endswith(".csv")
        own[step.outputs[0]] = set() if is_file else set(found["params"])
        deps = {
            dep.split("${")[0]
            for dep in STAGES[stage].get("deps", [])
            if dep.startswith("artifacts")
        }
        assert all(path.startswith(tuple(deps)) for path in found["inputs"]), stage


def test_a_project_without_any_provenance_still_runs(copied: Path) -> None:
    """Artefacts of an earlier version, or planted by hand."""
    for path in (copied / "artifacts").rglob("*provenance.json"):
        path.unlink()
    for path in (copied / "artifacts").rglob("SHA256SUMS"):
        path.unlink()
    shutil.rmtree(copied / "results")
    status, told = chain.run(copied, step_of("evaluate"))
    assert status == 0, told
