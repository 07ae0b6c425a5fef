"""Settings and inputs that are valid one by one and make no sense: one line, never a traceback."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.cli.main import app
from pipeline.cli.preset import merged
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from tests.faults import chain
from tests.faults.test_fuzz import MEMORY_BYTES, allow
from tests.patience import PATIENCE_S


def stopped(
    project: Path,
    command: str,
) -> str:
    """Run a stage that must stop in time and change nothing; its last line.

    What it has of memory is bounded, so that what asks for more than a machine has is refused on
    any, and neither granted nor ended by the system.
    """
    step = chain.step_of(command)
    expected = chain.contents(project, step)

    def limit() -> None:
        signal.alarm(PATIENCE_S)
        allow(MEMORY_BYTES)

    status, told = chain.run(project, step, limit)
    assert status == 1, (status, told)
    assert "Traceback" not in told
    assert chain.contents(project, step) == expected
    return told.splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "overlay", "expected"),
    [
        *(
            (
                f"{command}",
                "task: {emotion: {classes: [happy, sad, angry]}}",
                "task.emotion.classes has 'angry', but no",
            )
            for command in (
                "multitask",
                "finetune --task emotion --start pre",
                "finetune_cached",
                "crnn",
                "probe",
            )
        ),
        ("multitask", "multitask: {learning_rate: 1e30}", "params.yaml: multitask.learning_rate"),
        ("crnn", "crnn: {model: {gru_width: 65536}}", "crnn: out of memory, lower runtime"),
        ("split", "split: {by: random, count: 17, dev: none}", "17 random folds of 16 utterances"),
        (
            "preprocess",
            "preprocess: {augment: [{kind: pitch, name: a, low: 2.0, high: -2.0}]}",
            "preprocess.augment.0 must be of a range with low <= high",
        ),
        (
            "preprocess",
            "preprocess: {augment: [{kind: pitch, name: a, low: 1.0, high: 2.0}, "
            "{kind: noise, name: a, low: 1.0, high: 2.0}]}",
            "preprocess.augment must be of names that differ",
        ),
        ("encoder --name fbank", "encoder: {fbank: {hop_ms: 0.001}}", "fbank.hop_ms must be"),
        (
            "encoder --name untrained",
            "encoder: {untrained: {heads: 3}}",
            "multiple of heads and of 16",
        ),
        (
            "encoder --name untrained",
            "encoder: {untrained: {width: 18}}",
            "multiple of heads and of 16",
        ),
    ],
)
def test_settings_that_make_no_sense_are_one_line(
    copied: Path, command: str, overlay: str, expected: str
) -> None:
    path = copied / "params.yaml"
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    assert expected in stopped(copied, command)


def test_a_threshold_of_almost_nothing_keeps_the_loudest_frame(copied: Path) -> None:
    path = copied / "params.yaml"
    path.write_text(merged(path.read_text("utf-8"), "preprocess: {trim_db: 1e-9}"), "utf-8")
    status, told = chain.run(copied, chain.step_of("preprocess"))
    assert status in (0, 1)  # what is left may be too short
    assert "Traceback" not in told


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("replace", [pipe, endless])
@pytest.mark.parametrize("name", ["params.yaml", "data/raw/demo/labels.csv"])
def test_what_never_ends_is_not_read(
    copied: Path, name: str, replace: Callable[[Path], None]
) -> None:
    replace(copied / name)
    assert Path(name).name in stopped(copied, "preprocess")


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_named_like_a_recording_and_is_none_is_a_reject(copied: Path, kind: str) -> None:
    path = copied / "data/raw/demo/wav/3.wav"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    assert "1 missing; first wav/3.wav" in stopped(copied, "preprocess")


LINEAR, CRNN, FULL = (
    f"{chain.CLASSIFIERS}/{name}/0" for name in ("fbank/linear", "fbank/crnn", "retrained/full")
)
LORA = f"{chain.CLASSIFIERS}/pretrained/lora-qkv/0"


def foreign(path: Path) -> None:
    save_file({"x": np.zeros(3, np.float32)}, path)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *(
            (f"{folder}/{file}", harm)
            for folder, file in (
                (LINEAR, "model.safetensors"),
                (CRNN, "model.safetensors"),
                (FULL, "model.safetensors"),
                (LORA, "adapter_model.safetensors"),
            )
            for harm in (Path.unlink, foreign, lambda path: path.write_bytes(b"abc" * 50))
        ),
        *(
            (name, lambda path, text=text: path.write_text(text))
            for name in (f"{LINEAR}/features.json", f"{CRNN}/crnn.json", f"{FULL}/classifier.json")
            for text in ("{}", "[]", "null")
        ),
    ],
)
def test_a_foreign_or_damaged_classifier_is_one_line(
    copied: Path, name: str, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its checksums, as whoever copies a folder may leave them behind."""
    monkeypatch.chdir(copied)
    for sums in Path("artifacts").rglob("SHA256SUMS"):
        sums.unlink()
    judge.load(Path(name).parent)
    harm(Path(name))
    with pytest.raises(PipelineError, match="run `dvc repro`") as error:
        judge.load(Path(name).parent)
    assert str(Path(name).parent) in str(error.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"emotion": 3}', "null"])
def test_show_names_metrics_that_are_none(
    project: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results").mkdir()
    Path("results/metrics.json").write_text(text)
    with pytest.raises(SystemExit):
        app(["show"])
    assert "results/metrics.json: not what evaluate writes, run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: [\n", "params.yaml: not valid YAML"), ("- 1\n", "params.yaml: expected a mapping")],
)
def test_a_preset_on_an_invalid_file_is_one_line(
    project: Path, text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "presets", "presets")
    Path("params.yaml").write_text(text)
    with pytest.raises(SystemExit):
        app(["preset", "gmp-atl", "--dry-run"])
    assert expected in capsys.readouterr().err


def test_ser_tells_what_the_system_refuses(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        app(["cache", "verify"])
    assert "dvc: you are not inside of a DVC repository" in capsys.readouterr().err
