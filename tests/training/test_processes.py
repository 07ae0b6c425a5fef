"""Several processes train as one: by `runtime.launcher`, on nodes, after the death of one."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from stages import multitask
from tests import torchrun
from tests.ratings import rated_corpus, write_project

MULTITASK = ("stages.multitask", "--fold", "0")
OUT = Path("artifacts/multitask/0")
TWO = "torchrun --nproc-per-node 2"
# Imported by every Python: one process dies once, in the second epoch, when all took a step of it.
DIES_ONCE = """
import os, signal
from pathlib import Path
mark = Path(os.environ["DIED"])
if os.environ.get("RANK") == "1" and not mark.exists():
    from pipeline.training.epoch import Epoch
    take = Epoch._step
    def step(self, *given):
        if (self.number, self.done) == (2, 1):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, *given)
    Epoch._step = step
"""


@pytest.fixture
def ready(project: Path) -> Path:
    torchrun.project()
    return project


@pytest.fixture
def dying(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes of which one dies once."""
    folder = tmp_path_factory.mktemp("dying")
    (folder / "sitecustomize.py").write_text(DIES_ONCE)
    path = torchrun.variables({})["PYTHONPATH"]
    return {"PYTHONPATH": f"{folder}:{path}", "DIED": str(folder / "died")}


def launched(words: Sequence[str], launcher: str = TWO, **environment: str) -> str:
    """Run a stage by a launcher; what was said."""
    torchrun.change(f"runtime: {{launcher: {launcher}}}")
    return torchrun.run(words, environment)


@pytest.mark.parametrize(
    "task", ["affect", pytest.param("emotion", marks=pytest.mark.cluster)], ids=str
)
def test_a_stage_launches_itself_and_two_processes_train_as_one(ready: Path, task: str) -> None:
    """The concordance of affect is of the whole batch, which the two share."""
    torchrun.change(f"multitask: {{task: {task}}}")
    multitask.main(0)
    one = torchrun.published(OUT)
    said = launched(MULTITASK)
    assert said.startswith(f"multitask --fold 0: by {TWO}\n")
    assert said.count("epoch 1/2: train_loss") == 1
    torchrun.require_alike(torchrun.published(OUT), one)


def test_two_nodes_without_a_common_folder_train_as_one(
    ready: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    multitask.main(0)
    one = torchrun.published(OUT)
    homes = torchrun.copies(tmp_path_factory.mktemp("nodes"), 2)
    done = torchrun.on_nodes(homes, MULTITASK, SER_SCRATCH=".scratch")
    assert [status for status, _ in done] == [0, 0], done
    assert [text.count("epoch 1/2: train_loss") for _, text in done] == [1, 0]
    torchrun.require_alike(torchrun.published(OUT), one)


@pytest.mark.cluster
def test_a_lost_process_restarts_all_from_the_last_checkpoint(
    ready: Path, dying: dict[str, str]
) -> None:
    launched(MULTITASK)
    expected = (OUT / "model.safetensors").read_bytes()
    said = launched(MULTITASK, launcher=f"{TWO} --max-restarts 1", **dying)
    assert Path(dying["DIED"]).exists()
    assert "resumed after epoch 1, step 0" in said
    assert (OUT / "model.safetensors").read_bytes() == expected


@pytest.mark.cluster
def test_without_restarts_a_lost_process_is_one_line_and_the_next_run_resumes(
    ready: Path, dying: dict[str, str]
) -> None:
    launched(MULTITASK)
    expected = (OUT / "model.safetensors").read_bytes()
    failed = torchrun.run(MULTITASK, dying, 1)
    assert failed.splitlines()[-1] == (
        "multitask --fold 0: torchrun ended with status 1, mend what is said above and run it "
        "again, it resumes"
    )
    assert "resumed after epoch 1, step 0" in launched(MULTITASK, **dying)
    assert (OUT / "model.safetensors").read_bytes() == expected


@pytest.mark.cluster
@pytest.mark.parametrize("common", [True, False])
def test_nodes_resume_where_they_share_the_scratch_folder(
    ready: Path, dying: dict[str, str], tmp_path_factory: pytest.TempPathFactory, common: bool
) -> None:
    folder = tmp_path_factory.mktemp("nodes")
    scratch = str(folder / "scratch") if common else ".scratch"
    homes = torchrun.copies(folder, 2)
    done = torchrun.on_nodes(homes, MULTITASK, SER_SCRATCH=str(folder / "undisturbed"))
    assert [status for status, _ in done] == [0, 0], done
    expected = (OUT / "model.safetensors").read_bytes()
    done = torchrun.on_nodes(homes, MULTITASK, SER_SCRATCH=scratch, **dying)
    assert [status for status, _ in done] == [1, 1], done
    assert Path(dying["DIED"]).exists()
    done = torchrun.on_nodes(homes, MULTITASK, SER_SCRATCH=scratch, **dying)
    if common:
        assert [status for status, _ in done] == [0, 0], done
        assert "resumed after epoch 1, step 0" in done[0][1]
        assert (OUT / "model.safetensors").read_bytes() == expected
    else:
        assert [status for status, _ in done] == [1, 1], done
        assert "set SER_SCRATCH to a folder that all nodes share" in done[1][1]


PRETRAIN = """
pretrain:
  {start: x, sample: 500, iterations: 4, frames: [mfcc], units: [6], epochs: [2],
   training: {batch: 17, warmup: 1}}
"""


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("overlay", "command", "out"),
    [
        (PRETRAIN, "pretrain --fold 0", "encoders/own/0"),
        (
            "finetune: {model: {layer: last, projection: 8}, training: {batch: 17, epochs: 2}}",
            "finetune --task emotion --start pretrained --method full --fold 0",
            "classifiers/emotion/pretrained/full/0",
        ),
    ],
    ids=["pretrain", "finetune"],
)
def test_other_stages_of_the_encoder(ready: Path, overlay: str, command: str, out: str) -> None:
    torchrun.change(overlay)
    require_two_train_as_one(f"stages.{command}".split(), Path("artifacts", out))


@pytest.mark.cluster
def test_regressors_of_cached_frames(project: Path) -> None:
    write_project(*rated_corpus(41))
    task = "task: {share: {emotions: [anger, calmness, interest]}}"
    torchrun.change(f"{{runtime: {{device: cpu}}, networks: {{training: {{epochs: 2}}}}, {task}}}")
    command = "stages.networks --task share --features fbank --method cnn-lstm-attention --fold 0"
    out = Path("artifacts/classifiers/share/fbank/cnn-lstm-attention/0")
    require_two_train_as_one(command.split(), out)


def require_two_train_as_one(command: Sequence[str], out: Path) -> None:
    torchrun.run(command, {})
    one = torchrun.published(out)
    launched(command)
    torchrun.require_alike(torchrun.published(out), one)
