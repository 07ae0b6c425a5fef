"""A training stage that starts itself by `runtime.launcher`, and waits for what that starts."""

import os
from collections.abc import Sequence

from pipeline.ground import files, runs
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import LOCKS, digest
from pipeline.ground.launch import batch, prefix, ranks
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.launch.process import how, started
from pipeline.ground.locks import locked
from pipeline.ground.progress import say
from pipeline.ground.stage import Runtime


def elsewhere(told: str, runtime: Runtime, module: str, arguments: Sequence[str]) -> bool:
    """Whether a stage was run by a launcher, or `ahead`; in what a launcher started it runs here.

    For stages that train in `pipeline.training.loop`, whose batches several processes can share:
    a crnn normalises over whole batches, heads on cached means take seconds.

    Raises:
        PipelineError: As `by_launcher`, `ahead` and `ranks.require_meeting_place`.
    """
    if runtime.ahead or files.AHEAD in os.environ:
        return ahead(told, runtime, module, arguments)
    if ranks.launched():
        ranks.take_step(os.environ)
        ranks.require_meeting_place(os.environ)
        return False
    if not runtime.launcher:
        return False
    by_launcher(told, runtime.launcher, module, arguments)
    return True


def by_launcher(told: str, launcher: str, module: str, arguments: Sequence[str]) -> None:
    """Start ``module``, a stage that is called ``told``, by ``launcher``; return when it has ended.

    Raises:
        PipelineError: It runs already, could not be started, or did not end well.
    """
    words = prefix.words(launcher)
    with locked(LOCKS / digest(["launch", told]), told):
        runs.begin(told)
        say(f"{told}: by {launcher}")
        if prefix.program(words) == "sbatch":
            batch.run(told, words, prefix.command(["srun"], module, arguments))
        else:
            _run(told, prefix.command(words, module, arguments))
        # The status alone tells too little: it is 0 of a job that was cancelled while it waited.
        if runs.began(told):
            raise PipelineError(
                f"{told}: {words[0]} ended well, but the stage did not: it was cancelled, or its "
                "first process ran in another folder, run it again"
            )


def _run(told: str, command: Sequence[str]) -> None:
    with started(command) as process:
        status = process.wait()
    if status:
        raise PipelineError(
            f"{told}: {command[0]} ended with {how(status)}, mend what is said above and run it "
            "again, it resumes"
        )
