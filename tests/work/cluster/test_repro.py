"""`dvc repro` itself with what `runtime` has for several devices: its outputs, and DVC's lock."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.ground import code
from pipeline.splits import folds
from tests import torchrun
from tests.patience import PATIENCE_S
from tests.speech import tone_clips

pytestmark = pytest.mark.cluster
OUTS = [Path(f"artifacts/multitask/{fold}") for fold in (0, 1)]


@pytest.fixture
def lock(on_cpu: Path) -> str:
    """A project whose one stage, of two folds, DVC has run in turn; its lock."""
    torchrun.project()
    roles = {example.clip.clip: example.role for example in tone_clips(30)}
    other = {"train": "dev", "dev": "train"}
    folds.write(folds.FOLDS, [roles, {clip: other.get(role, role) for clip, role in roles.items()}])
    yaml = YAML()
    graph = yaml.load((code.ROOT / "dvc.yaml").read_text("utf-8"))
    yaml.dump({"stages": {"multitask": graph["stages"]["multitask"]}}, Path("dvc.yaml"))
    Path("code.yaml").write_text(code.text({"multitask": code.digest("multitask")}), "utf-8")
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    repro()
    return Path("dvc.lock").read_text("utf-8")


def repro(*words: str) -> str:
    """What `dvc repro` and its stages say."""
    done = subprocess.run(
        ["dvc", "repro", *words], env=torchrun.variables({}), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def forget() -> None:
    """As if nothing had been run: neither outputs nor DVC's cache are there."""
    for path in (*OUTS, Path(".dvc/cache")):
        shutil.rmtree(path)


def test_by_a_launcher(lock: str) -> None:
    one = torchrun.published(OUTS[0])
    torchrun.change("runtime: {launcher: torchrun --nproc-per-node 2}")
    assert "didn't change, skipping" in repro()  # no output is keyed by it
    forget()
    assert "multitask --fold 0: by torchrun --nproc-per-node 2" in repro("multitask@0")
    torchrun.require_alike(torchrun.published(OUTS[0]), one)
    ours, theirs = (YAML(typ="safe").load(text)["stages"] for text in (lock, _lock()))
    assert ours["multitask@1"] == theirs["multitask@1"]
    entries = [stages["multitask@0"] for stages in (ours, theirs)]
    assert [entry.pop("outs")[0]["path"] for entry in entries] == [str(OUTS[0])] * 2
    assert entries[0] == entries[1]
    assert "didn't change, skipping" in repro("multitask@0")


def test_ahead(lock: str, places: str) -> None:
    """The lock names the bytes, and what determined them; `-s` asks for one run alone."""
    torchrun.change(f"runtime: {{engine: ray, ahead: true, address: '{places}'}}")
    assert "didn't change, skipping" in repro()
    forget()
    told = repro()
    assert told.count("ahead: 2 runs side by side") == 1
    for fold in (0, 1):
        assert f"multitask --fold {fold}: was made ahead, is published" in told
    assert _lock() == lock
    assert "didn't change, skipping" in repro()
    forget()
    assert "ahead:" not in repro("-s", "multitask@0")
    assert not OUTS[1].exists()
    assert not list(Path(".scratch").glob("*/artifacts"))
    assert _lock() == lock


def _lock() -> str:
    return Path("dvc.lock").read_text("utf-8")
