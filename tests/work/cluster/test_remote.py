"""Maps on Ray: the bytes of this machine's processes, whatever happens to the workers."""

import os
import sys
from pathlib import Path

import pytest

from pipeline.embeddings import extraction
from pipeline.embeddings.extraction import Job, Kept
from pipeline.ground import files
from tests.params import set_runtime
from tests.speech import tone_clips

HALF = Kept(["last"], "all", "fp32", "float16")
FBANK = {"kind": "fbank", "bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "high_hz": 8000.0}
LOCAL, FAR = Path("artifacts/embeddings/small/local.h5"), Path("artifacts/embeddings/small/far.h5")


def test_ray_of_this_machine_makes_the_same_file(
    on_cpu: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And leaves this process as it was: the fixture `signals` looks at its handlers, too."""
    monkeypatch.setattr(extraction, "SHARD_S", 1.0)
    clips, folder = [example.clip for example in tone_clips(6)], Path("fbank")
    files.write_json(folder / "config.json", FBANK)
    job = Job.prepare(folder, "small", HALF)
    job.run(LOCAL, clips)
    job.discard()
    before = sys.excepthook, os.getpgrp(), set(Path().rglob("*"))
    set_runtime(engine="ray", workers=1)
    Job.prepare(folder, "small", HALF).run(FAR, clips)
    assert files.sha256(FAR) == files.sha256(LOCAL)
    written, told = set(Path().rglob("*")) - before[2], capfd.readouterr()
    assert {path for path in written if path.is_file() and ".scratch" not in path.parts} == {FAR}
    assert (sys.excepthook, os.getpgrp()) == before[:2]
    assert "ray: 1 worker on 1 node after" in told.err
    assert told.out == ""
