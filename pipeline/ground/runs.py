"""What ran, when, how long and with which libraries: outside every output, so that it never breaks
a cache hit.

Each stage leaves one record of its last run in the scratch store; `evaluate` shows those that made
what it scores in ``results/environment.html``, which is no output of DVC either. A run that was
refused, failed or killed leaves a mark in its project, and ``ser show`` says so beside the scores
of before.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.ground import files, locks

MARK = ".began"
_making: set[str] = set()
LIBRARIES = "torch transformers peft faiss-cpu faiss-gpu numpy scikit-learn h5py librosa soxr dvc"


def begin(command: str) -> None:
    """Leave a mark that a run began, until it is finished."""
    _making.clear()
    with contextlib.suppress(OSError):
        files.LOCKS.mkdir(parents=True, exist_ok=True)
        _mark(command).write_text(command, "utf-8")


def began(command: str) -> bool:
    """Whether the command began and has not ended well, perhaps on another node."""
    try:
        # Asking whether it exists would be answered by what a node remembers of a shared folder.
        _mark(command).read_bytes()
    except FileNotFoundError:
        return False
    return True


def makes(seal: str) -> None:
    """Have the record of this run name what it makes, by the seal of its provenance."""
    _making.add(seal)


def unfinished(since: float) -> list[str]:
    """The commands that began after ``since`` (seconds, as `time.time`) and never ended well."""
    found = []
    for path in files.LOCKS.glob(f"*{MARK}"):
        with contextlib.suppress(FileNotFoundError):  # it may end well between two looks
            if path.stat().st_mtime > since:
                found.append(path.read_text("utf-8", "replace"))
    return sorted(found)


def end(command: str) -> None:
    """Take the mark away: it ended well."""
    with contextlib.suppress(OSError):
        _mark(command).unlink(missing_ok=True)


def record(command: str, seconds: float) -> None:
    """Note a finished run; where the scratch store can't be written, nothing is noted."""
    found = {
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "made": sorted(_making),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": _device(),
        "versions": _versions(),
    }
    end(command)
    with contextlib.suppress(OSError):
        path = _folder() / f"{files.digest(command)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another project with the same scratch store may end the same command now.
        staged = path.with_name(f"{path.name}~{os.getpid()}")
        staged.write_text(json.dumps({**found, "digest": files.digest(found)}), "utf-8")
        staged.replace(path)


def read(seals: Set[str]) -> list[dict[str, Any]]:
    """The runs on this machine that made one of these, oldest first.

    Of each command the last is kept; a damaged record is left out.
    """
    known = [one for path in _folder().glob("*.json") if (one := _read(path))]
    found = [one for one in known if not seals.isdisjoint(one.get("made", ()))]
    return sorted(found, key=lambda one: (one["finished"], one["command"]))


def _read(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and found.pop("digest", None) == files.digest(found):
            return found
    return None


def _mark(command: str) -> Path:
    return files.LOCKS / f"{files.digest(command)}{MARK}"


def _folder() -> Path:
    return locks.scratch_root() / "runs"


def _device() -> str:
    """The GPU if torch was loaded and sees one, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
