"""Several nodes of Ray on this machine, and what becomes of a file when they come and go."""

import importlib
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpora import manifest
from pipeline.ground import files
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.units.nearest import searcher
from pipeline.work.cluster import remote
from pipeline.work.cluster.worker import Task
from tests.params import set_runtime
from tests.patience import PATIENCE_S, wait_until
from tests.speech import small_encoder, tone_clips
from tests.work.cluster.conftest import add

pytestmark = pytest.mark.cluster
# Something to do.
SIZE: dict[str, Any] = {"hidden_size": 192, "conv_dim": [96] * 7, "intermediate_size": 768}
CLIPS = 90
KILLED = 20
LOCAL, FAR = "artifacts/embeddings/small/local.h5", "artifacts/embeddings/small/far.h5"
ODD = {"ATEN_CPU_CAPABILITY": "default"}


@pytest.fixture
def expected(request: pytest.FixtureRequest, on_cpu: Path, cluster: Any) -> str:
    """A project with clips, and the checksum of their embeddings by processes of this machine."""
    clips = [example.clip for example in tone_clips(getattr(request, "param", CLIPS))]
    manifest.write(manifest.CLIPS / "tones/manifest.csv", clips)
    small_encoder(Path("enc"), **SIZE)
    process, told = start(LOCAL), ""
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    set_runtime(engine="ray", address=cluster.address)
    return files.sha256(Path(LOCAL))


def start(target: str, scratch: str = "") -> subprocess.Popen[str]:
    name = scratch or Path(target).stem
    return subprocess.Popen(
        [sys.executable, "-m", "tests.work.cluster.driver", target],
        env=os.environ | {"PYTHONPATH": str(ROOT), "SER_SCRATCH": name},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """What a driver that did its work said on stderr; on stdout it says nothing."""
    out, told = process.communicate(timeout=2 * PATIENCE_S)
    assert (process.returncode, out) == (0, ""), told
    return told


def finished(scratch: str = "far") -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(scratch).glob("*/*.h5")}


def test_killed_nodes_and_late_ones_leave_no_trace(expected: str, cluster: Any) -> None:
    """Twenty raylets are killed at random moments, with what they do; others join."""
    chance, killed = random.Random(0), 0
    for run in range(KILLED):
        scratch, nodes = f"far{run}", [add(cluster), add(cluster)]
        process = start(FAR, scratch)
        for moment in sorted(chance.sample(range(CLIPS // 3), 4)):
            wait_until(
                lambda: len(finished(scratch)) >= moment or process.poll() is not None  # noqa: B023
            )
            if process.poll() is not None:  # done before its turn came
                break
            cluster.remove_node(nodes.pop(chance.randrange(2)), allow_graceful=False)
            killed += 1
            nodes.append(add(cluster))
        told = ended(process)
        assert files.sha256(Path(FAR)) == expected
        assert "ray: 1 worker on 1 node" in told
        for node in nodes:
            cluster.remove_node(node, allow_graceful=False)
        if killed >= KILLED:
            return
    pytest.fail(f"{killed} raylets were killed in the middle")


def test_a_killed_driver_resumes_from_its_shards(expected: str, cluster: Any) -> None:
    add(cluster)
    process = start(FAR)
    wait_until(lambda: len(finished()) >= 10 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished()
    assert before
    ended(start(FAR))
    assert finished().items() >= before.items()
    assert files.sha256(Path(FAR)) == expected


@pytest.mark.parametrize("expected", [10 * CLIPS], indirect=True)
def test_a_node_that_joins_late_helps(expected: str, cluster: Any) -> None:
    process = start(FAR)
    add(cluster)
    wait_until(lambda: bool(finished()) or process.poll() is not None)
    add(cluster)
    told = ended(process)
    assert told.index("ray: 1 worker on 1 node after") < told.index("ray: 2 workers on 2 nodes")
    assert files.sha256(Path(FAR)) == expected


def test_a_worker_that_differs_is_refused_or_left_out(expected: str, cluster: Any) -> None:
    odd = add(cluster, **ODD)
    process = start(FAR)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    line = told.splitlines()[-1]
    assert "has computer" in line
    assert "ATEN_CPU_CAPABILITY=default, DEFAULT, this machine" in line
    assert not finished()

    set_runtime(mixed="skip")
    process = start(FAR)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "every worker" in told.splitlines()[-1]

    add(cluster)
    told = ended(start(FAR))
    assert told.count("ray: left out, the worker on") == 1
    assert "2 workers" not in told
    assert files.sha256(Path(FAR)) == expected
    cluster.remove_node(odd, allow_graceful=False)


@pytest.mark.parametrize("expected", [3 * CLIPS], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ray_of_this_machine_ends_with_the_stage(expected: str, number: signal.Signals) -> None:
    """However that ends; it resumes from its shards."""
    set_runtime(engine="ray", address="")
    before = set(Path("/tmp").glob("ser-ray-*"))  # noqa: S108
    process = start(FAR)
    wait_until(lambda: bool(finished()) or process.poll() is not None)
    (folder,) = set(Path("/tmp").glob("ser-ray-*")) - before  # noqa: S108
    assert running(folder)
    process.send_signal(number)
    out, told = process.communicate(timeout=PATIENCE_S)
    expected_end = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -9}[number]
    assert (process.returncode, out) == (expected_end, ""), told
    wait_until(lambda: not running(folder))
    if number != signal.SIGKILL:
        assert told.splitlines()[-1].endswith("run it again to resume")
        assert not folder.exists()
    before_resumed = finished()
    ended(start(FAR))
    assert not folder.exists()  # of a killed stage the next one sweeps it
    assert finished().items() >= before_resumed.items()
    assert files.sha256(Path(FAR)) == expected


def running(folder: Path) -> list[str]:
    """The processes of the Ray whose files lie in ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder) in (command := path.read_text("utf-8", "replace")):
                found.append(command)
    return found


def test_a_worker_without_a_module_is_one_line(
    project: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(cluster)
    set_runtime(engine="ray", address=cluster.address)
    Path("here_alone.py").write_text("class Book(dict): pass\n", "utf-8")
    monkeypatch.syspath_prepend(Path.cwd())
    book = importlib.import_module("here_alone").Book()
    Path("here_alone.py").unlink()
    with pytest.raises(PipelineError, match=r"cannot begin \(.*here_alone.*\), install there"):
        list(remote.spread(Task(searcher, (book,)), [1, 2]))


class Deadly:
    """Whoever reads it ends."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (3,)


@pytest.mark.parametrize(
    ("arguments", "item", "of"),
    [
        ((Deadly(),), 1, "before they were ready"),
        (({2: np.zeros((2, 3), np.float32)},), Deadly(), "of one piece of work"),
    ],
)
def test_workers_that_die_again_and_again_are_one_line(
    project: Path, cluster: Any, arguments: tuple[Any, ...], item: Any, of: str
) -> None:
    add(cluster)
    set_runtime(engine="ray", address=cluster.address)
    with pytest.raises(PipelineError, match=f"6 workers died {of}, the last on"):
        list(remote.spread(Task(searcher, arguments), [item]))


def test_a_cluster_without_a_free_cpu_is_one_line(
    project: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_runtime(engine="ray", address=cluster.address)
    monkeypatch.setattr(remote, "PATIENCE_S", 1.0)
    with pytest.raises(PipelineError, match=f"the cluster at {cluster.address} has no free CPU"):
        list(remote.spread(Task(searcher), [1, 2]))
