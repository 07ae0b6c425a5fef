"""What a worker says of itself, and the line where it is not what this machine is."""

from pathlib import Path

import numpy
import pytest
import torch

from pipeline.corpora.preparing import workers
from pipeline.units.nearest import searcher
from pipeline.work import pool
from pipeline.work.cluster import likeness
from pipeline.work.cluster.likeness import difference
from pipeline.work.cluster.luggage import Luggage
from pipeline.work.cluster.worker import Task, Worker

NOTHING = Luggage({})


def test_both_are_named() -> None:
    own = {"code": "1", "torch": "2.13.0", "threads": "1"}
    assert difference("node", own, own) == ""
    found = difference("10.0.0.2", own | {"torch": "2.12.0"}, own)
    assert found == "10.0.0.2 has torch 2.12.0, this machine 2.13.0"
    assert "has threads unknown, this machine 1" in difference(
        "n", {"code": "1", "torch": "2.13.0"}, own
    )


def test_facts_are_of_code_libraries_threads_computer_and_files() -> None:
    facts = Task(searcher, device="cpu").facts(NOTHING, threads=3)
    assert facts["numpy"] == numpy.__version__
    assert facts["threads"] == "3"
    assert facts["files"] == NOTHING.sha256
    assert torch.backends.cpu.get_cpu_capability() in facts["computer"]
    assert likeness.cpu() in facts["computer"]
    other = Task(workers._decoder, device="cpu").facts(NOTHING, threads=3)
    assert {name for name in facts if facts[name] != other[name]} == {"code"}


def test_a_worker_that_does_not_see_the_project_s_folder_differs(tmp_path: Path) -> None:
    task = Task(searcher, mark=tmp_path / "mark")
    (tmp_path / "mark").touch()
    here = task.facts(NOTHING, threads=1)
    (tmp_path / "mark").unlink()
    told = difference("it", task.facts(NOTHING, threads=1), here)
    assert told == f"it has folder none of the project, this machine {tmp_path / 'mark'}"


def test_a_cpu_that_is_made_to_compute_as_another_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    likeness.cpu.cache_clear()
    before = likeness.cpu()
    likeness.cpu.cache_clear()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert likeness.cpu() not in ("", before)
    likeness.cpu.cache_clear()


def test_a_worker_that_differs_prepares_nothing() -> None:
    worker, task = Worker(threads=1), Task(searcher, ("it would fail",))
    facts = task.facts(NOTHING, threads=1)
    assert pool.result(worker.prepare(task, NOTHING, facts | {"torch": "1.0"})) == facts
    with pytest.raises(RuntimeError, match="not prepared"):
        pool.result(worker.work(1))
