"""Atomic outputs and checksums.

An output appears whole or not at all: it is written under ``artifacts/.staging``, flushed to
disk and renamed into place. With it goes the checksum of every file that has none of its own, and
whoever reads the file compares it (`require_intact`). Unfinished work lies elsewhere: in the
scratch store of `pipeline.ground.locks`.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

STAGING = Path("artifacts/.staging")
LOCKS = Path("artifacts/.locks")
# The checksums of a published folder, in the format of `sha256sum`.
SUMS = "SHA256SUMS"
# The environment of a run ahead of its turn: it publishes below this folder, not in the project.
AHEAD = "SER_AHEAD"
# Their formats hold checksums, and their readers look at them.
SELF_CHECKED = (".flac", ".h5")


@contextmanager
def publish(target: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it becomes ``target``, on failure nothing changes.

    The caller writes a file or makes a folder there. The staging folder is beside the outputs (one
    file system, so that the rename is atomic) but inside none, so that a leftover of a killed run
    is never taken for an output.

    Raises:
        PipelineError: The staging folder was deleted meanwhile.
    """
    has_sums = target.parts[0] == STAGING.parts[0]
    if has_sums and AHEAD in os.environ:
        target = Path(os.environ[AHEAD], target)
    # Outside the project, where a test may write, another file system may begin.
    beside = target if target.is_absolute() else STAGING / "+".join(target.parts)
    # What is staged must never be taken for a file or the checksum of one.
    work = beside.with_name(beside.name + "~")
    staged, retired = work / target.name, work / f"{target.name}~old"

    def undo() -> None:
        if retired.exists() and not target.exists():  # stopped between the two renames
            retired.rename(target)
        _remove(work)

    undo()
    work.mkdir(parents=True)
    with ending.undone(undo), _opened(work) as require_kept:
        yield staged
        if staged.is_dir() and has_sums:
            _write_sums(staged)
        _flush(staged)
        require_kept()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            # A folder can't be replaced in one step: the old one is moved aside first.
            target.rename(retired)
            staged.rename(target)
        else:
            staged.replace(target)
        _fsync(target.parent)


@contextmanager
def _opened(work: Path) -> Iterator[Callable[[], None]]:
    """Yield what refuses ``work`` once it was deleted: whoever writes there may make it again."""
    handle = os.open(work, os.O_RDONLY)  # no other folder gets the number of one that is open

    def require_kept() -> None:
        if not (work.exists() and os.path.samestat(work.stat(), os.fstat(handle))):
            raise PipelineError(
                f"{work}: deleted while it was written, old outputs are untouched: run it again"
            )

    try:
        yield require_kept
    except Exception:
        require_kept()
        raise
    finally:
        os.close(handle)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with publish(target) as staged:
        staged.write_text(text, "utf-8", newline="\n")


def write_json(target: Path, value: object) -> None:
    """Write indented JSON with a final newline, atomically; NaN is refused."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: Path) -> str:
    """The text of a file of ours, its line ends as they are.

    Raises:
        PipelineError: It is missing or damaged.
        OSError: The operating system refuses to read it.
    """
    require_file(path)
    content = path.read_bytes()
    require_intact(path, content)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise PipelineError(f"{path}: not UTF-8, delete it and run `dvc repro`") from None


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        PipelineError: It is missing or damaged.
        OSError: The operating system refuses to read it.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError):
        raise PipelineError(f"{path}: not valid JSON, delete it and run `dvc repro`") from None


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file into a folder that the caller publishes (not atomic)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file of ours, by column.

    Raises:
        PipelineError: It is missing or damaged.
        OSError: The operating system refuses to read it.
    """
    try:
        return list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error:
        raise PipelineError(f"{path}: damaged, delete its folder and run `dvc repro`") from None


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    require_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Write the checksum of a file that is published alone beside it, as `sha256sum` does."""
    write_text(sum_of(path), f"{sha256(path)}  {path.name}\n")


def require_file(path: Path) -> None:
    """Look before a library does that has no words for it, or waits for a pipe to be filled.

    Raises:
        PipelineError: It is missing, or no regular file.
        OSError: The operating system refuses to read it.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise PipelineError(f"{path}: no such file, run `dvc repro`") from None
    if not stat.S_ISREG(mode):
        raise PipelineError(f"{path}: not a regular file, rename it and run `dvc repro`")
    with path.open("rb"):
        return


def state(file: Path | int) -> tuple[int, ...]:
    """What differs once a file, by its path or handle, was replaced, written to or removed."""
    try:
        told = os.stat(file)  # noqa: PTH116 - a handle has no path
    except OSError:
        return ()
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def changed(path: Path) -> PipelineError:
    """The error of a file whose `state` differs."""
    return PipelineError(f"{path}: changed while it was read, wait until it is whole, run it again")


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Look at a file, and have a library open it anew: it must stay what it was.

    Raises:
        PipelineError: It was replaced, written to or removed meanwhile.
    """
    before = state(path)
    try:
        yield
    finally:
        if state(path) != before:
            raise changed(path) from None


def require_intact(path: Path, content: bytes | None = None) -> None:
    """Compare a published file with the checksum that its stage left; pass where it left none.

    ``content`` is what was read of it; whoever opens it anew does so under `unchanged`.

    Raises:
        PipelineError: It is missing or no regular file, or they differ.
        OSError: The operating system refuses to read it.
    """
    require_file(path)
    # The lists of its own folder and, for an encoder in a classifier's, of the one above.
    lists = (sum_of(path), *(folder / SUMS for folder in path.parents[:2]))
    kept = next((one for one in lists if one.exists()), None)
    if kept is None:
        return
    require_file(kept)
    found = sha256(path) if content is None else hashlib.sha256(content).hexdigest()
    line = f"{found}  {path.relative_to(kept.parent).as_posix()}"
    if line not in kept.read_text("utf-8", "replace").splitlines():
        raise PipelineError(
            f"{path}: damaged or edited, {kept} has another checksum, delete it and run `dvc repro`"
        )


def digest(value: object) -> str:
    """A digest of JSON-like data: equal values give equal digests, in any process."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def replace(staged: Path, target: Path) -> None:
    """Flush ``staged`` and rename it to ``target`` in the same folder (checkpoints, shards)."""
    _fsync(staged)
    staged.replace(target)
    _fsync(target.parent)


def _write_sums(folder: Path) -> None:
    found = [path for path in folder.rglob("*") if path.is_file()]
    lines = [
        f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(found)
        if path.suffix not in SELF_CHECKED
    ]
    (folder / SUMS).write_text("".join(lines), "utf-8", newline="\n")


def sum_of(path: Path) -> Path:
    """Where the checksum of a file lies that is published alone."""
    return path.with_name(path.name + ".sha256")


def _flush(path: Path) -> None:
    """Bring a staged output to disk, readable by whoever shares the folder.

    safetensors writes files that the owner alone may read.
    """
    entries = [path, *path.rglob("*")] if path.is_dir() else [path]
    for entry in entries:
        if entry.is_file():
            entry.chmod(entry.stat().st_mode | 0o444)
    if path.is_dir():
        # 0.2 s for 1440 clips, where one fsync each takes 6 s.
        os.sync()
    else:
        _fsync(path)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
