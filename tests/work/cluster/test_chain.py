"""Every stage that hands its matrix on, with real commands: the bytes of runs in their turn."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.ground.code import ROOT
from pipeline.ground.launch.ahead import MATRICES
from tests import graph
from tests.faults import chain
from tests.faults.chain import Step
from tests.params import set_runtime
from tests.torchrun import change
from tests.work.cluster import folds

pytestmark = pytest.mark.cluster
TWO_FOLDS = """
folds: [0, 1]
adapted: [0, 1]
crnn: {tasks: [emotion]}
pretrain:
  folds: [0, 1]
  start: untrained
  sample: 500
  iterations: 4
  frames: [mfcc, -1]
  units: [6, 8]
  epochs: [1, 1]
  training: {batch: 4, warmup: 1}
"""
# The command of a fold of each, by what dvc.yaml calls it.
STAGES = {
    "pretrain-fold@{}": "pretrain",
    "multitask@{}": "multitask",
    "frames@{}": "extract --fold",
    "cluster@{}": "cluster",
    "retrain@{}": "retrain",
    "finetune@emotion-lora-qkv-{}": "finetune --task emotion --start pretrained",
    "finetune-adapted@emotion-full-{}": "finetune --task emotion --start retrained",
    "finetune-cached@emotion-fbank-linear-{}": "finetune_cached",
    "crnn@emotion-fbank-{}": "crnn",
    "networks@share-fbank-cnn-lstm-attention-{}": "networks",
}
MADE = [
    *(s for s in chain.STEPS if s.name.split("-")[0] not in ("probe", "stress", "evaluate")),
    # In no chain, since nothing there starts from it.
    Step("pretrain --fold 0", ("artifacts/encoders/own/0",)),
]


def of_fold(step: Step, fold: int) -> Step:
    """The same run of another fold."""
    command = step.command.replace("--fold 0", f"--fold {fold}")
    return Step(command, tuple(path.replace("/0", f"/{fold}") for path in step.outputs))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of DVC in which every run had its turn, for two folds."""
    folder = tmp_path_factory.mktemp("chain") / "project"
    folder.mkdir()
    chain.toy(folder)
    before = Path.cwd()
    os.chdir(folder)
    change(TWO_FOLDS)
    os.chdir(before)
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    for step in MADE:
        for fold in (0, 1) if "--fold 0" in step.command else (0,):
            status, told = chain.run(folder, of_fold(step, fold))
            assert status == 0, told
    return folder


def test_every_stage_with_a_run_for_each_fold_is_tried() -> None:
    with_folds = {name for name, one in graph.STAGES.items() if "fold" in one.get("matrix", ())}
    assert {name.partition("@")[0] for name in STAGES} == with_folds == MATRICES


@pytest.mark.parametrize("name", STAGES)
def test_a_matrix_ahead_has_the_bytes_of_its_turns(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(chain.copy(reference, tmp_path / "project"))
    set_runtime(engine="ray", ahead=True)
    folds.without_ray(monkeypatch)
    step = next(one for one in MADE if one.command.startswith(STAGES[name]))
    steps = [of_fold(step, fold) for fold in (0, 1)]
    expected = [chain.contents(reference, step) for step in steps]
    assert expected[0] != expected[1]
    for step in steps:
        chain.remove(Path(), step)
    told = []
    for fold, step in enumerate(steps):
        done, said = folds.here(name.format(fold), *step.command.split())
        assert done, said
        told.append(said.splitlines())
    assert told[0][0].startswith("ahead: 2 runs side by side")
    assert [lines[-1] for lines in told] == [
        f"{step.command}: was made ahead, is published" for step in steps
    ]
    assert len(told[1]) == 1
    assert [chain.contents(Path(), step) for step in steps] == expected
