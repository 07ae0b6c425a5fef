"""Artefacts of another experiment in place of a stage's inputs: every stage refuses, naming both.

Each is made by its own stage under one changed parameter, and its checksums are right: what DVC
checks out after a mixed-up pull, or what a stage run by hand leaves.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from pipeline.cli.preset import merged
from tests.faults import chain
from tests.faults.chain import Step, step_of
from tests.graph import STAGES, params_of

CACHED = ("finetune_cached", "crnn", "probe", "share")
LAST = ("finetune --start pretrained", "finetune --start retrained", *CACHED)

# What is changed, the stage that then makes the artefact anew, who reads it, and what is told.
SWAPPED = [
    ("preprocess: {max_clip_s: 0.4}", "preprocess", ("split", "extract --encoder"), "max_clip_s"),
    ("encoder: {fbank: {bands: 9}}", "encoder --name fbank", ("extract --encoder",), "bands"),
    (
        "encoder: {tiny: {feed_forward: 12}}",
        "encoder --name tiny",
        ("multitask", "retrain", "finetune --start pretrained"),
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
    ("retrain: {mask_length: 4}", "retrain", ("finetune --start retrained",), "mask_length"),
    ("finetune: {loss: {margin: 0.1}}", "finetune --start pretrained", ("evaluate",), "margin"),
    ("finetune: {loss: {margin: 0.1}}", "finetune --start retrained", ("evaluate",), "margin"),
    ("finetune: {methods: {linear: {c: [2.0]}}}", "finetune_cached", ("evaluate",), "linear.c"),
    ("crnn: {augmentation: {speed: 0.1}}", "crnn", ("evaluate",), "speed"),
    ("probe: {points: 20}", "probe", ("evaluate",), "points"),
    ("share: {training: {batch: 3}}", "share", ("evaluate",), "batch"),
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
        ("cluster", "artifacts/retrained/0", "finetune --start retrained"),
        ("encoder --name tiny", "artifacts/multitask/0", "extract --fold"),
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
        "encoder --name tiny": "artifacts/encoders/tiny",
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


def carried(project: Path, step: Step) -> dict[str, Any]:
    path = project / step.outputs[0]
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return dict(json.loads(file.attrs["provenance"]))
    name = "provenance.json"
    file_ = path / name if path.is_dir() else path.with_name(f"{path.name}.{name}")
    return dict(json.loads(file_.read_text("utf-8")))


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
UNUSED = {"preprocess": {"preprocess", "seed"}, "split": {"seed"}, "encoder": {"seed"}}


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
