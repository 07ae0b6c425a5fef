"""Unfinished work that was damaged: the next run notices, does it anew, ends in the same bytes.

Single flipped bits in whatever the scratch store holds: checkpoints, the best weights so far,
shards of embeddings, finished utterances, records of runs.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.ground.errors import PipelineError
from pipeline.training import checkpoint
from tests.faults import chain
from tests.faults.test_flips import FLIPS, flipped
from tests.faults.test_kills import Prepare

SHORT = 3  # flips of each kind in `make test`


def before_rename(name: str, number: int) -> Prepare:
    """Die before a file is given its ``name`` for the given time (from 1)."""

    def prepare() -> None:
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event == "os.rename" and Path(arguments[1]).name == name:
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return prepare


# What a stage leaves, and when it dies: in its second epoch, or before it publishes.
LAST, BEST, SECOND = "last.safetensors", "best0.safetensors", 2
OF_EACH = "[!l]*.safetensors"  # regressor, its best weights
STORED = {
    ("multitask", LAST): ("0", 1),
    ("retrain", BEST): ("0", 1),
    ("finetune --task emotion --start pre", LAST): (LAST, SECOND),
    ("finetune --task emotion --start pre", BEST): (LAST, SECOND),
    ("finetune --task emotion --start retrained", BEST): (LAST, SECOND),
    ("crnn", LAST): (LAST, SECOND),
    ("networks", LAST): (LAST, SECOND),
    ("networks", OF_EACH): (LAST, SECOND),
    ("extract --encoder", "*.h5"): ("demo.h5", 1),
    ("preprocess", "*.log"): ("demo", 1),
    ("evaluate", "runs/*.json"): ("report.html", 1),
}


def left_by(project: Path, step: chain.Step, moment: tuple[str, int], pattern: str) -> Path:
    """A file of the scratch store, after the stage was killed at that moment."""
    scratch = project / ".scratch"
    if not pattern.startswith("runs/"):
        scratch.rename(project / "finished")
    chain.remove(project, step)
    status, told = chain.run(project, step, before_rename(*moment))
    assert status == -signal.SIGKILL, told
    return max(scratch.rglob(pattern), key=lambda path: path.stat().st_size)


def anew(project: Path, damaged: Path) -> str:
    return f"{damaged.relative_to(project)}: damaged or missing, training starts anew\n"


@pytest.mark.parametrize(("command", "pattern"), STORED)
def test_a_flipped_bit_in_unfinished_work_changes_no_result(
    copied: Path,
    command: str,
    pattern: str,
    request: pytest.FixtureRequest,
    tell: Callable[[str, int], None],
) -> None:
    step = chain.step_of(command)
    expected = chain.contents(copied, step)
    damaged = left_by(copied, step, STORED[command, pattern], pattern)
    scratch, kept, good = copied / ".scratch", copied / "kept", damaged.read_bytes()
    shutil.copytree(scratch, kept)
    count = FLIPS if request.config.getoption("--long") else SHORT
    for bit in np.random.default_rng(len(good)).integers(0, 8 * len(good), count).tolist():
        shutil.rmtree(scratch)
        shutil.copytree(kept, scratch)
        damaged.write_bytes(flipped(good, bit))
        chain.remove(copied, step)
        status, told = chain.run(copied, step)
        assert status == 0, (bit, told)
        assert chain.contents(copied, step) == expected, bit
        if damaged.suffix == ".safetensors":
            assert (
                f"{damaged.relative_to(copied)}: damaged or missing, training starts anew" in told
            )
    tell("flipped bits in unfinished work", count)


def test_what_is_whole_is_resumed(copied: Path) -> None:
    """Else the tests above would show nothing."""
    step = chain.step_of("finetune --task emotion --start pre")
    left_by(copied, step, (LAST, SECOND), LAST)
    _, told = chain.run(copied, step)
    assert "resumed after epoch 1, step 0" in told


@pytest.mark.parametrize(("command", "pattern"), [k for k in STORED if k[1] in (BEST, OF_EACH)])
def test_a_folder_that_was_half_deleted_is_not_resumed_from(
    copied: Path, command: str, pattern: str
) -> None:
    """As a kill leaves it while a finished stage removes its checkpoints."""
    step = chain.step_of(command)
    expected = chain.contents(copied, step)
    best = left_by(copied, step, STORED[command, pattern], pattern)
    best.unlink()
    status, told = chain.run(copied, step)
    assert status == 0, told
    assert anew(copied, best) in told
    assert chain.contents(copied, step) == expected


@pytest.mark.parametrize("name", [LAST, BEST])
def test_no_flipped_bit_of_a_checkpoint_passes(copied: Path, name: str) -> None:
    path = left_by(
        copied, chain.step_of("finetune --task emotion --start pre"), (LAST, SECOND), name
    )
    good = path.read_bytes()
    header, draw = 8 + int.from_bytes(good[:8], "little"), np.random.default_rng(0)
    for bit in [*draw.integers(0, 8 * header, FLIPS), *draw.integers(0, 8 * len(good), FLIPS)]:
        path.write_bytes(flipped(good, bit))
        with pytest.raises(PipelineError, match="damaged, delete its folder and run it again"):
            checkpoint.kept(path)
    path.write_bytes(good)
    checkpoint.kept(path)
