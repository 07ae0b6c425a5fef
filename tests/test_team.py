"""A team's day on real commands: A shares a cache, B takes from it, adds to it, and A gets it back.

The pipeline is the project's own, on a small demo corpus and logistic regression on filterbanks;
`dvc` and the stages run as users run them, each clone with a cache of its own.
"""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.patience import PATIENCE_S
from tests.team import Colleague

# What DVC's run cache never holds, since they have outputs that it does not cache.
UNCACHED = {"plan", "evaluate"}
LINEAR = "finetune-cached@emotion-fbank-linear"


@pytest.fixture(scope="module")
def a(begun: Colleague, tmp_path_factory: pytest.TempPathFactory) -> Colleague:
    """A has run the pipeline, committed it and pushed to a folder."""
    root = tmp_path_factory.mktemp("team")
    a = begun.copy(root / "a")
    a.run("dvc", "remote", "add", "-d", "team", str(root / "remote"))
    a.run("dvc", "push", "-q")
    a.commit("Run the pipeline")
    return a


# As README has it.
SHOW = ["dvc", "exp", "show", "--only-changed", "--keep", r".*\.(uar|rho)$"]
SHOW += ["--drop", ".*(war|f1|eer)|.*/|Created|State|Executor"]

READ = """
import h5py
from pathlib import Path
from pipeline.embeddings.reader import Embeddings
path = Path("artifacts/embeddings/fbank/demo.h5")
with h5py.File(path, "r") as file, Embeddings(path) as ours:
    start, stop = file["offsets"][:2]
    clip = file["clip"].asstr()[0]
    frames = file["last"][start:stop].astype("float32")
    assert (ours.frames(clip, "last") == frames).all() and frames.shape[1] == 40
    assert abs(ours.means("last")[0] - frames.mean(0)).max() < 0.01
    print(len(ours.clips), file.attrs["encoder"], file.attrs["numerics_version"])
"""


def test_b_takes_one_corpus_then_everything_and_gives_back(a: Colleague) -> None:
    b = a.clone("b")
    b.run("dvc", "pull", "-q", "extract@fbank-demo")
    held = sorted(p.name for p in (b.folder / "artifacts").rglob("*") if p.is_file())
    assert held == ["demo.h5"]
    assert b.run("python", "-c", READ).split() == ["32", "fbank", "1"]

    assert b.repro("--pull")[0] <= {"plan"}
    assert b.run("git", "status", "--porcelain") == ""
    assert b.uar == a.uar

    b.change("finetune: {methods: {linear: {pooling: mean-std}}}")
    assert b.repro()[0] - {"plan"} == {f"{LINEAR}-0", "evaluate"}
    b.run("dvc", "push", "-q", "--run-cache")

    shown = b.run(*SHOW)  # one experiment, or none: the scores are there all the same
    assert "emotion.fbank.linear.uar" in shown and ".py" not in shown

    a.change("finetune: {methods: {linear: {pooling: mean-std}}}")
    a.run("dvc", "pull", "-q", "--run-cache")
    ran, cached = a.repro("--pull")
    assert ran <= UNCACHED and f"{LINEAR}-0" in cached
    assert a.uar == b.uar
    a.run("git", "checkout", "-q", ".")


def test_another_corpus_and_fold_list_come_and_go_without_a_trace(a: Colleague) -> None:
    c = a.clone("c")
    c.repro("--pull")
    before = (c.folder / "results/scores.json").read_bytes()
    plant_corpus(c.folder / "data/raw/ours")
    c.run("dvc", "add", "-q", "data/raw/ours")

    path = c.folder / "params.yaml"
    old, new = "  tess:\n    parser: tess\n", "  ours:\n    parser: table\n"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    c.change("corpora: [demo, ours]\nfolds: [0, 1]")
    ran, _ = c.repro()
    assert ran >= {"preprocess@ours", "extract@fbank-ours", f"{LINEAR}-1"}
    assert not ran & {"preprocess@demo", "extract@fbank-demo", "synthesize"}
    both = (c.folder / "results/scores.json").read_bytes()
    assert b'"ours"' in both

    c.change("corpora: [demo]\nfolds: [0]")
    ran, _ = c.repro()  # what C has pulled, but never run, is not in its run cache
    assert ran <= {"split", f"{LINEAR}-0", *UNCACHED}
    assert (c.folder / "results/scores.json").read_bytes() == before
    assert not list((c.folder / "artifacts").rglob("*ours*"))

    c.change("corpora: [demo, ours]\nfolds: [0, 1]")
    ran, _ = c.repro()
    assert ran <= UNCACHED
    assert (c.folder / "results/scores.json").read_bytes() == both


def plant_corpus(folder: Path) -> None:
    """Noise of two kinds by four speakers, with the CSV of the parser `table`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = ["path,emotion,speaker"]
    for number in range(16):
        wave = rng.normal(0, 0.1, 8000)
        emotion = ("angry", "sad")[number % 2]
        wave = np.cumsum(wave) / 10 if emotion == "sad" else wave
        soundfile.write(folder / f"{number}.wav", wave.clip(-1, 1), 16000)
        rows.append(f"{number}.wav,{emotion},{number // 4}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def bucket() -> Iterator[str]:
    """A bucket on an S3 server of this machine; its address."""
    pytest.importorskip("dvc_s3", reason="needs the extra s3")
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    import boto3

    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys).create_bucket(
        Bucket="team"
    )
    yield address
    running.stop()


def test_an_s3_bucket_serves_as_well(a: Colleague, bucket: str) -> None:
    d = a.clone("d")
    for one in (a, d):
        one.run("dvc", "remote", "add", "-f", "--local", "s3", "s3://team/ser")
        one.run("dvc", "remote", "modify", "--local", "s3", "endpointurl", bucket)
    a.run("dvc", "push", "-q", "-r", "s3", "extract@fbank-demo")
    d.run("dvc", "pull", "-q", "-r", "s3", "extract@fbank-demo")
    assert d.run("python", "-c", READ).split() == ["32", "fbank", "1"]
    assert a.run("git", "status", "--porcelain") == ""


@dataclass(frozen=True)
class Server:
    """An SSH server of this machine: its port, and the only key that it lets in."""

    port: int
    key: Path


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Server]:
    """A server that speaks SFTP, with an empty folder as its root."""
    pytest.importorskip("dvc_ssh", reason="needs the extra ssh")
    import asyncssh

    own, theirs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    theirs.write_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "served").mkdir()
    allowed = asyncssh.import_authorized_keys(theirs.export_public_key().decode())

    def serve(channel: Any) -> Any:
        return asyncssh.SFTPServer(channel, chroot=bytes(tmp_path / "served"))

    async def start() -> Any:
        keys = {"server_host_keys": [own], "authorized_client_keys": allowed}
        return await asyncssh.listen("127.0.0.1", 0, **keys, sftp_factory=serve)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    yield Server(listening.get_port(), tmp_path / "key")
    loop.call_soon_threadsafe(listening.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)


def test_an_ssh_server_serves_as_well(a: Colleague, ssh: Server, tmp_path: Path) -> None:
    e = a.clone("e")
    for one in (a, e):
        url = f"ssh://someone@127.0.0.1:{ssh.port}/ser"
        one.run("dvc", "remote", "add", "-f", "--local", "ssh", url)
        one.run("dvc", "remote", "modify", "--local", "ssh", "keyfile", str(ssh.key))
    a.run("dvc", "push", "-q", "-r", "ssh", "extract@fbank-demo")
    pushed = sorted((tmp_path / "served").rglob("*"))
    assert pushed
    e.run("dvc", "pull", "-q", "-r", "ssh", "extract@fbank-demo")
    assert e.run("python", "-c", READ).split() == ["32", "fbank", "1"]
    assert a.run("git", "status", "--porcelain") == ""

    ssh.key.unlink()
    with pytest.raises(AssertionError, match="dvc push"):
        a.run("dvc", "push", "-q", "-r", "ssh", "preprocess@demo")
    assert sorted((tmp_path / "served").rglob("*")) == pushed
