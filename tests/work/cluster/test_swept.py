"""Folders of lost processes are swept, and those of others are not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ground.code import ROOT
from pipeline.work.cluster import swept

HOLDS = """
import sys, time
from pathlib import Path
from pipeline.work.cluster import swept
with swept.folder(Path(sys.argv[1]), "ser-x-") as made:
    (made / "inner").mkdir()
    (made / "inner/file").write_text("x")
    (made / "latest").symlink_to(made / "inner")
    print(made, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that has a folder, whose path it says."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_killed_process_s_folder_goes_with_the_next(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with holder:
        assert holder.stdout
        theirs = Path(holder.stdout.readline().strip())
        with swept.folder(tmp_path, "ser-x-") as ours:
            assert (theirs / "inner/file").exists()
        assert not ours.exists()
        holder.send_signal(signal.SIGKILL)
    assert (theirs / "inner/file").exists()
    with swept.folder(tmp_path, "ser-y-"):  # another kind
        assert theirs.exists()
    with swept.folder(tmp_path, "ser-x-"):
        assert not theirs.exists()
    assert not list(tmp_path.iterdir())


def test_what_has_no_lock_or_is_another_s_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "ser-x-other"
    there.mkdir()
    (tmp_path / "ser-x-file").touch()
    (tmp_path / "ser-x-link").symlink_to(there)
    with swept.folder(tmp_path, "ser-x-"):
        pass
    assert len(list(tmp_path.iterdir())) == 3
    (there / swept.HELD).touch()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with swept.folder(tmp_path, "ser-x-"):
        assert there.exists()
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with swept.folder(tmp_path, "ser-x-"):
        assert not there.exists()
