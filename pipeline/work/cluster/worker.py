"""What a worker of a cluster does: it says what it computes with, prepares once, and works.

Its module imports nothing that reads how many threads there are: they are set first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ground import code, stage
from pipeline.work import pool
from pipeline.work.cluster import likeness
from pipeline.work.cluster.luggage import Luggage


@dataclass(frozen=True)
class Task:
    """Work for the workers of a cluster.

    Attributes:
        make: A function of the library; of ``arguments`` it makes what turns a payload, which must
            not need the driver's disk, into a result. It finds the luggage where it lies.
        arguments: What ``make`` takes.
        files: Files and folders that it reads, the worker's `Luggage`.
        device: Of torch, on which it computes; empty where torch has no part in it.
        mark: A file of a folder that all nodes must see; None where they need not.
    """

    make: Callable[..., Callable[[Any], Any]]
    arguments: tuple[Any, ...] = ()
    files: tuple[Any, ...] = ()
    device: str = ""
    mark: Path | None = None

    @property
    def gpus(self) -> int:
        """How many GPUs a worker takes."""
        return int(self.device.startswith("cuda"))

    def facts(self, luggage: Luggage, threads: int) -> dict[str, str]:
        """What decides the bits of its results on this machine, in words."""
        made_by = self.make.__module__.removeprefix("ser_pipeline.")
        return {
            "code": code.digest_of(made_by),
            **likeness.libraries(),
            "threads": str(threads),
            "computer": self._computer(),
            "files": luggage.sha256,
            "folder": str(self.mark) if self.mark and self.mark.exists() else "none of the project",
        }

    def _computer(self) -> str:
        if not self.device:
            return likeness.cpu()
        try:
            import torch

            return likeness.computer(torch.device(self.device))
        except (ImportError, RuntimeError, AssertionError) as error:
            return f"unknown ({' '.join(str(error).split())[:100]})"


class Worker:
    """One process of a cluster; Ray makes an actor of it."""

    def __init__(self, threads: int) -> None:
        stage.set_threads(threads)
        self._threads = threads
        self._work: Callable[[Any], Any] = _unprepared

    def is_there(self) -> bool:
        """It has a place: others may have taken all CPUs."""
        return True

    def prepare(self, task: Task, luggage: Luggage, expected: dict[str, str]) -> bytes:
        """What it computes with; where that is as ``expected``, it is ready from now on."""
        return pool.answer(lambda _: self._prepared(task, luggage, expected), None)

    def work(self, payload: Any) -> bytes:
        """What became of a piece, for `pool.result`."""
        return pool.answer(self._work, payload)

    def _prepared(self, task: Task, luggage: Luggage, expected: dict[str, str]) -> dict[str, str]:
        found = task.facts(luggage, self._threads)
        if found == expected:
            with luggage.opened():
                self._work = task.make(*task.arguments)
        return found


def _unprepared(_payload: Any) -> Any:
    raise RuntimeError("a worker that was not prepared")
