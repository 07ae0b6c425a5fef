"""Ray over two nodes of a real Slurm, each a slurmd of its own on this machine."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests import skips, torchrun
from tests.patience import PATIENCE_S, wait_until
from tests.slurm import cluster
from tests.speech import extracted_tones

pytestmark = pytest.mark.cluster
NODES = ("one", "two")
RAY = [
    "--block",
    "--num-cpus=1",
    "--node-ip-address=127.0.0.1",
    f"--object-store-memory={80 << 20}",
]
STAGE = [sys.executable, "-m", "stages.extract", "--encoder", "fbank", "--corpus", "tones"]
# Imported by every Python of Ray: a worker begins when those of both nodes have work.
MEET = """
import os, time
from contextlib import suppress
from pathlib import Path
with suppress(ImportError):
    from pipeline.work.cluster.worker import Worker
    work, place = Worker.work, Path(os.environ["MEETING"])
    def meet(self, payload):
        (place / os.environ["SLURMD_NODENAME"]).touch()
        while len(list(place.iterdir())) < 2:
            time.sleep(0.01)
        return work(self, payload)
    Worker.work = meet
"""
COUNT = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(len(ray.nodes()))"


# All of one Ray have one token, here none of the user's.
ALIKE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
}


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if not cluster.is_installed():
        pytest.skip(f"{skips.NO_SLURM}, and to be root: slurmctld, slurmd and munge")
    with cluster.running(tmp_path_factory.mktemp("slurm"), NODES) as environment:
        yield environment


@pytest.fixture
def meeting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of Ray's processes, which tell in MEETING on which node they work."""
    folder = tmp_path_factory.mktemp("meeting")
    (folder / "sitecustomize.py").write_text(MEET)
    (folder / "there").mkdir()
    path = torchrun.variables({})["PYTHONPATH"]
    return {"PYTHONPATH": f"{folder}:{path}", "MEETING": str(folder / "there")}


@pytest.fixture
def address(slurm: dict[str, str], meeting: dict[str, str]) -> Iterator[str]:
    """Of a Ray whose head is a step on one node, and whose other node is one on the other."""
    found = f"127.0.0.1:{torchrun.free_port()}"
    # Sockets lie in it, whose paths may have a hundred characters.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    head = [
        "--head",
        f"--port={found.rpartition(':')[2]}",
        f"--temp-dir={folder}",
        "--include-dashboard=false",
    ]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for node, told in zip(NODES, (head, [f"--address={found}"]), strict=True):
            command = [*_on(node), "ray", "start", *told, *RAY]
            step = subprocess.Popen(command, env=torchrun.variables(slurm | meeting | ALIKE))
            stack.callback(step.wait, PATIENCE_S)
            stack.callback(step.terminate)
            wait_until(partial(_has_begun, step, found, NODES.index(node) + 1))
        yield found


def _on(node: str) -> list[str]:
    return ["srun", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", f"--nodelist={node}"]


def _has_begun(step: subprocess.Popen[bytes], address: str, count: int) -> bool:
    """Whether Ray has so many nodes; it may not be there yet."""
    assert step.poll() is None, "ray start has ended"
    done = subprocess.run(
        [sys.executable, "-c", COUNT, address],
        env=os.environ | ALIKE, capture_output=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.stdout.split() == [b"%d" % count]


def test_extract_over_two_nodes(
    project: Path, slurm: dict[str, str], meeting: dict[str, str], address: str
) -> None:
    """Three shards: each node has one, and the file has the bytes of this machine alone."""
    extracted_tones("{corpora: [tones], runtime: {device: cpu, workers: 2}}", 400)
    path = Path("artifacts/embeddings/fbank/tones.h5")
    expected = path.read_bytes()
    path.unlink()
    torchrun.change(f"runtime: {{engine: ray, address: '{address}'}}")
    done = subprocess.run(
        [*_on("one"), *STAGE],
        env=torchrun.variables(slurm | ALIKE | {"SER_SCRATCH": "anew"}),
        stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ray: 2 workers on 2 nodes" in done.stderr
    assert {path.name for path in Path(meeting["MEETING"]).iterdir()} == set(NODES)
    assert path.read_bytes() == expected
