"""Two projects on one scratch store run the same stage at once: both end in the right bytes."""

import os
from pathlib import Path

import pytest

from tests.faults import chain

COMMANDS = [
    "preprocess",
    "extract --encoder",
    "extract --fold",
    "multitask",
    "retrain",
    "finetune --task emotion --start pre",
    "crnn",
    "networks",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_two_projects_may_share_the_scratch_store(
    reference: Path, tmp_path: Path, command: str, request: pytest.FixtureRequest
) -> None:
    step = chain.step_of(command)
    expected = chain.contents(reference, step)
    projects = [chain.copy(reference, tmp_path / name) for name in ("one", "other")]

    def share() -> None:
        os.environ["SER_SCRATCH"] = str(tmp_path / "scratch")

    for _ in range(12 if request.config.getoption("--long") else 1):
        children = []
        for project in projects:
            chain.remove(project, step)
            children.append((project, chain.start(project, step, share)))
        for project, child in children:
            status, told = chain.wait(project, child)
            assert status == 0, told
            assert chain.contents(project, step) == expected
