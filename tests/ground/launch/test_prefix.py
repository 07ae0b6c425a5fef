"""What a launcher makes of a stage's command, and what tells a launched process its place."""

import sys

import pytest

from pipeline.ground.errors import PipelineError
from pipeline.ground.launch import prefix, ranks

PYTHON = ["env", "SER_LAUNCHED=1", sys.executable]
STAGE = ["-m", "stages.multitask", "--fold", "0"]


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [
        ("torchrun --nproc-per-node 4", "torchrun --nproc-per-node 4"),
        ("/opt/bin/torchrun --nnodes 2", "/opt/bin/torchrun --nnodes 2"),
        ("accelerate launch --cpu", "accelerate launch --cpu"),
        ("python -m torch.distributed.run", "python -m torch.distributed.run"),
        ("srun --nodes 2 torchrun", "srun --kill-on-bad-exit=1 --nodes 2 torchrun"),
    ],
)
def test_what_starts_python_itself_is_given_the_module(launcher: str, expected: str) -> None:
    made = prefix.command(launcher.split(), "stages.multitask", ["--fold", "0"])
    assert made == [*expected.split(), "-m", "--", *STAGE[1:]]


def test_others_are_given_a_command_that_says_it_is_launched() -> None:
    made = prefix.command(["nice", "-n", "5"], "stages.multitask", ["--fold", "0"])
    assert made == ["nice", "-n", "5", *PYTHON, *STAGE]


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ("--gpus 8", True),
        ("--gpus=8", True),
        ("-G8", True),
        ("--nodes 2 --gpus-per-node 4", True),
        ("--gres=gpu:4", True),
        ("--gres=tmp:4", False),
        ("--gpus 8 --ntasks 8", False),
        ("--gpus 8 -n 8", False),
        ("--gpus 8 --ntasks-per-node=4", False),
        ("--gpus 8 --ntasks-per-gpu 2", False),
        ("-n 8 --gpus-per-task 1", False),
        ("-n 2", False),
    ],
)
def test_srun_has_a_task_for_each_gpu_where_no_number_is_given(options: str, added: bool) -> None:
    words = ["srun", *options.split()]
    own = ["--kill-on-bad-exit=1", *(["--ntasks-per-gpu=1"] if added else [])]
    # What the user says comes after ours, and wins.
    assert prefix.command(words, "m", []) == [
        "srun", *own, *options.split(), *PYTHON, "-m", "m",
    ]  # fmt: skip


def test_words_are_those_of_a_shell() -> None:
    assert prefix.words("  sh -c 'a b' \"c\" ") == ["sh", "-c", "a b", "c"]


@pytest.mark.parametrize(
    ("launcher", "told"),
    [
        ("sh -c 'a", r"runtime\.launcher is .*: no closing quotation, close it"),
        ("srum -n 2", r"runtime\.launcher begins with 'srum', which is no program here"),
        ("   ", r"runtime\.launcher is blank"),
        ("# torchrun", r"runtime\.launcher begins with '#'"),
    ],
)
def test_what_cannot_be_started_is_named(launcher: str, told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        prefix.words(launcher)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("vm", "vm"),
        ("gpu1,gpu2", "gpu1"),
        ("gpu[03-05,11],cpu1", "gpu03"),
        ("gpu[7,9]", "gpu7"),
        ("rack2-gpu[1-4]-ib,other", "rack2-gpu1-ib"),
        ("node.domain.org", "node.domain.org"),
    ],
)
def test_the_first_of_slurm_s_nodes(nodes: str, first: str) -> None:
    assert ranks.first_host(nodes) == first


STEP = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[3-4]",
}


def test_a_task_of_a_step_is_a_process_of_torch() -> None:
    one, other, later = dict(STEP), STEP | {"SLURM_PROCID": "6"}, STEP | {"SLURM_STEP_ID": "1"}
    for environment in (one, other, later):
        ranks.take_step(environment)
    assert (one["RANK"], one["WORLD_SIZE"], one["LOCAL_RANK"]) == ("5", "8", "1")
    assert one["MASTER_ADDR"] == "gpu3"
    assert 1024 < int(one["MASTER_PORT"]) < 32_768
    assert other["RANK"] == "6"
    assert other["MASTER_PORT"] == one["MASTER_PORT"] != later["MASTER_PORT"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_processes_meet_where_there_is_an_address(host: str) -> None:
    ranks.require_meeting_place({"MASTER_ADDR": host})
    ranks.require_meeting_place({})


def test_a_node_without_an_address_is_one_line() -> None:
    """RFC 2606 keeps `.invalid` from ever having one."""
    with pytest.raises(PipelineError, match=r"node gpu3\.invalid has no address on .*/etc/hosts"):
        ranks.require_meeting_place({"MASTER_ADDR": "gpu3.invalid"})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # A shell within an allocation, and a single task.
        {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "8"},
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        # torchrun within a step.
        STEP | {"RANK": "3", "WORLD_SIZE": "64"},
    ],
)
def test_other_processes_are_left_as_they_are(environment: dict[str, str]) -> None:
    before = dict(environment)
    ranks.take_step(environment)
    assert environment == before
