"""``ser cache ls | verify | gc``: what is cached, whether it is whole, and what may be deleted."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.ground.errors import PipelineError, reason, remedy


def main(
    action: Annotated[
        Literal["ls", "verify", "gc"],
        typer.Argument(help="List embeddings; re-hash DVC's cache; delete unfinished work."),
    ],
) -> None:
    """List the cached embeddings, check every byte of DVC's cache, or clear the scratch store.

    DVC itself never re-hashes what its cache holds: a flipped byte is checked out as up to date.
    """
    {"ls": _ls, "verify": _verify, "gc": _gc}[action]()


def _ls() -> None:
    """One row for each embeddings file in the workspace, active or not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from pipeline.corpora.manifest import ARTIFACTS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("encoder", "revision", "corpus", "clips", "frames"):
        table.add_column(name, no_wrap=True)
    for name in ("layers", "means of", "precision", "MB", "numerics"):
        table.add_column(name)
    paths, unread = sorted((ARTIFACTS / "embeddings").glob("*/*.h5")), []
    for path in paths:
        try:
            table.add_row(*_row(path))
        except (PipelineError, OSError) as error:
            unread.append(_told(path, error))
    if table.row_count or not paths:
        Console(highlight=False).print(table if paths else "no embeddings, `dvc repro`")
    _fail_over(unread)


def _row(path: Path) -> tuple[str, ...]:
    from pipeline.embeddings.reader import Embeddings

    with Embeddings(path) as found:
        header, clips, frames = found.header, len(found.clips), found.offsets[-1]
    return (
        header.encoder,
        header.revision[:8] or header.weights_sha256[:8] or "-",
        path.stem,
        str(clips),
        str(frames),
        _named(header.frames),
        _named(header.means),
        f"{header.precision}, {header.dtype}",
        f"{path.stat().st_size / 1e6:.1f}",
        str(header.numerics_version),
    )


def _told(path: Path, error: Exception) -> str:
    """A line on what could not be read."""
    if isinstance(error, OSError):
        return f"{path}: {reason(error)}, {remedy(error)}"
    return " ".join(str(error).split())


def _fail_over(lines: Sequence[str]) -> None:
    """Say on stderr, after all that could be done, what could not be, and fail over it."""
    for line in lines:
        typer.echo(line, err=True)
    if lines:
        raise typer.Exit(1)


def _named(layers: tuple[Any, ...]) -> str:
    """Layer names; a long run of them by its ends."""
    names = [str(layer) for layer in layers]
    return " ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]} ({len(names)})"


# DVC writes under another name and renames: what has another is no object.
_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")


def _verify() -> None:
    """Re-hash every object of DVC's cache; name what is corrupt and which outputs it belongs to."""
    from dvc.repo import Repo

    from pipeline.ground import progress

    with Repo() as repo:
        cache = Path(repo.cache.local.path)
        found = sorted(path for path in cache.glob("[0-9a-f][0-9a-f]/*") if path.is_file())
        objects = [path for path in found if _OBJECT.fullmatch(path.name)]
        corrupt, unread = [], []
        for path in progress.track(objects, "verify", len(objects), "objects"):
            try:
                corrupt += [] if _is_whole(path) else [path]
            except OSError as error:
                unread.append(_told(path, error))
        owners = _owners(repo) if corrupt else {}
    for path in sorted({*found} - {*objects}):
        typer.echo(f"leftover: {path}, of a run of DVC that was stopped")
    for path in corrupt:
        name = path.parent.name + path.name
        typer.echo(f"corrupt: {path}, of {owners.get(name, 'no output of this commit')}")
    if corrupt:
        unread.append(
            f"{cache}: {len(corrupt)} of {len(objects)} objects are corrupt, delete them and the "
            "outputs named above, then `dvc pull` or `dvc repro`"
        )
    _fail_over(unread)
    rest = len(found) - len(objects)
    told = f", {rest} leftovers may be deleted while no DVC runs" if rest else ""
    typer.echo(f"{len(objects)} objects are whole{told}")


def _is_whole(path: Path) -> bool:
    import hashlib

    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return found.hexdigest() == (path.parent.name + path.name).removesuffix(".dir")


def _owners(repo: Any) -> dict[str, str]:
    """The output that each object belongs to, by digest, of what dvc.lock names."""
    found = {}
    for out in repo.index.outs:
        if out.hash_info:
            found[out.hash_info.value] = str(out)
            for key, _, info in out.get_obj() or () if out.hash_info.isdir else ():
                found.setdefault(info.value, f"{out}/{'/'.join(key)}")
    return found


def _gc() -> None:
    """Delete the scratch store: a stage that was interrupted starts anew, and so does its curve."""
    from pipeline.ground import live
    from pipeline.ground.locks import locked, scratch_lock, scratch_root

    live.clear()
    root = scratch_root()
    if not root.is_dir():
        typer.echo(f"{root}: nothing to delete")
        return
    # Work is named by a digest; anything else in that folder is not ours.
    folders = [path for path in root.iterdir() if path.is_dir() and len(path.name) == 32]
    size, in_use, kept = 0, 0, []
    for folder in folders:
        try:
            # A run that comes to it meanwhile waits until it is gone.
            with locked(scratch_lock(folder), str(folder)):
                held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                shutil.rmtree(folder)
            size += held
        except PipelineError:
            in_use += 1
        except OSError as error:
            kept.append(_told(Path(error.filename or folder), error))
    used = f", {in_use} in use kept" if in_use else ""
    typer.echo(f"{root}: {size / 1e6:.1f} MB deleted{used}")
    _fail_over(kept)
