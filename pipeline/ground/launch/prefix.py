"""What `runtime.launcher` makes of a stage's own command.

The prefix is the user's; what only makes sense in one way is put after its first word, so that
whatever the user says of the same comes later and wins.
"""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.ground.errors import PipelineError

# In the environment of a stage that is not to launch itself (again).
LAUNCHED = "SER_LAUNCHED"
# They start Python themselves.
_OF_PYTHON = {"torchrun", "accelerate"}
_OF_MODULE = {"torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch"}
_GPUS = ("-G", "--gpus", "--gres=gpu", "--gpus-per-node", "--gpus-per-socket")
_TASKS = ("-n", "--ntasks", "--tasks-per-node", "--gpus-per-task")


def words(launcher: str) -> list[str]:
    """The prefix in words, as a shell would cut it.

    Raises:
        PipelineError: It has no word, a quotation has no end, or the first is no program here.
    """
    try:
        found = shlex.split(launcher)
    except ValueError as error:
        raise PipelineError(
            f"params.yaml: runtime.launcher is {launcher!r}: {str(error).lower()}, close it"
        ) from None
    if not found:
        raise PipelineError('params.yaml: runtime.launcher is blank, set it to ""')
    if not shutil.which(found[0]):
        raise PipelineError(
            f"params.yaml: runtime.launcher begins with {found[0]!r}, which is no program here, "
            'install it, or set runtime.launcher to ""'
        )
    return found


def program(prefix: Sequence[str]) -> str:
    """The name of what the prefix starts."""
    return Path(prefix[0]).name


def command(prefix: Sequence[str], module: str, arguments: Sequence[str]) -> list[str]:
    """The command that starts the stage by ``prefix``, which is not empty."""
    if any(Path(w).name in _OF_PYTHON or w in _OF_MODULE for w in prefix):
        # Without the dashes torchrun takes --start for the beginning of an option of its own.
        stage = ["-m", "--", module, *arguments]
    else:
        # Said in the command too: a launcher may pass no environment on.
        stage = ["env", f"{LAUNCHED}=1", sys.executable, "-m", module, *arguments]
    if program(prefix) == "srun":
        return [*srun(prefix), *stage]
    return [*prefix, *stage]


def srun(prefix: Sequence[str]) -> list[str]:
    """A step of Slurm that ends where one task does, and has a task for each GPU that it asks for.

    Else a lost process would leave the others waiting, and `srun --gpus 8` would start one.
    """
    return [prefix[0], "--kill-on-bad-exit=1", *per_gpu(prefix), *prefix[1:]]


def per_gpu(prefix: Sequence[str]) -> list[str]:
    """A task for each GPU, where the prefix asks for GPUs and names no number of tasks."""

    def names(options: Sequence[str]) -> bool:
        return any(word.startswith(tuple(options)) for word in prefix[1:])

    return ["--ntasks-per-gpu=1"] if names(_GPUS) and not names(_TASKS) else []
