"""Which runs of its own matrix a stage of DVC may hand on: those that DVC would come to."""

import os
import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.ground.launch.waiting import Run
from pipeline.ground.params import PARAMS_FILE

# Options of DVC by which its targets are not all that it runs.
_MORE = ("downstream", "pipeline", "all_pipelines", "glob")


def runs(name: str, words: Sequence[str], computer: str) -> list[Run]:
    """The run that is called ``name``, then those of its matrix that DVC would run after it.

    Nothing where that is not the command of ``words``, or was asked for alone (``dvc repro -s``).
    """
    from dvc.repo import Repo

    asked = _command()
    if asked and asked.single_item:
        return []
    with Repo() as repo:
        matrix = name.partition("@")[0]
        stages = {one.addressing: one for one in repo.index.stages}
        names = [other for other in stages if other.partition("@")[0] == matrix]
        if name not in names or shlex.split(stages[name].cmd)[2:] != list(words):
            return []
        reached = _reached(repo, asked) or set(stages)
        after = [stages[one] for one in names[names.index(name) + 1 :] if one in reached]
        force = bool(asked and (asked.force or asked.force_downstream))
        due = [one for one in after if not one.frozen and (force or _has_changed(one))]
        return [_run(one, computer) for one in (stages[name], *due)]


def _run(stage: Any, computer: str) -> Run:
    words = shlex.split(stage.cmd)
    inputs = [str(one.def_path) for one in stage.deps if not hasattr(one, "params")]
    keys = [
        key
        for one in stage.deps
        if hasattr(one, "params") and Path(one.def_path) == PARAMS_FILE
        for key in one.params
    ]
    (out,) = stage.outs
    return Run(tuple(words[2:]), str(out.def_path), tuple(inputs), tuple(keys), computer)


def _has_changed(stage: Any) -> bool:
    """What DVC asks before it runs one; without its locks, which the run that waits for us has."""
    return stage.changed_stage() or any(one.status() for one in [*stage.deps, *stage.outs])


def _reached(repo: Any, asked: Namespace | None) -> set[str]:
    """The stages that the targets of `dvc repro` need; none where it runs whatever there is."""
    if not asked or any(vars(asked).get(option) for option in _MORE):
        return set()
    collect, deep = repo.stage.collect, asked.recursive
    found = [collect(one, with_deps=True, recursive=deep) for one in asked.targets]
    return {one.addressing for stages in found for one in stages}


def _command() -> Namespace | None:
    """What `dvc repro` or `dvc exp run` was asked, which this process comes from.

    DVC tells its commands nothing of it. None where there is no such process: an experiment of
    DVC's queue, of which all is run, or a command by hand.
    """
    from dvc.cli import DvcParserError, parse_args

    for words in _ancestors():
        names = [Path(word).name for word in words[:3]]
        if "dvc" in names:
            with suppress(DvcParserError, SystemExit):
                found = parse_args(words[names.index("dvc") + 1 :])
                if hasattr(found, "single_item"):
                    return found  # type: ignore[no-any-return]
    return None


def _ancestors() -> Iterator[list[str]]:
    """The commands of the processes from which this one comes, the nearest first."""
    process = os.getppid()
    while process > 1:
        folder = Path("/proc", str(process))
        try:
            yield (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
            process = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
