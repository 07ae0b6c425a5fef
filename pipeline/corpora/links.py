"""Where symbolic links of a corpus may lead: nowhere but into its folder and DVC's cache.

DVC's advice for large data, ``cache.type symlink``, makes each file of a corpus a link into the
cache. Importing DVC takes a second, so its configuration is read here.
"""

import configparser
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from pipeline.corpora.entries import Reject
from pipeline.ground.errors import PipelineError


def refused(folder: Path, source: str) -> Reject | None:
    """Why a path of a corpus, or a link on its way, can't be followed; None where it can.

    Raises:
        PipelineError: It leads out of the corpus folder, and not into DVC's cache.
    """
    path = folder / source
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Reject(source, "link", "the link loops or leads nowhere")
    if not any(
        target.is_relative_to(root) for root in (_resolved(folder.absolute()), _cache(Path.cwd()))
    ):
        raise PipelineError(f"{path}: a link out of the corpus folder, copy the file in its place")
    return Reject(source, "link", "a link to a folder of the corpus") if target.is_dir() else None


@cache
def _resolved(folder: Path) -> Path:
    return folder.resolve()


@cache
def _cache(root: Path) -> Path:
    """The folder of DVC's cache: ``cache.dir`` of the most specific configuration that has it."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = [
        Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc"),
        Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc"),
    ]
    found = root / ".dvc/cache"
    for path in (
        *(f / "config" for f in folders),
        root / ".dvc/config",
        root / ".dvc/config.local",
    ):
        config = configparser.ConfigParser(strict=False, interpolation=None)
        # What DVC can't read either stops DVC before any stage.
        with suppress(configparser.Error, UnicodeDecodeError):
            config.read(path, "utf-8")
        told = config.get("cache", "dir", fallback="").strip("\"'")
        found = path.parent / Path(told).expanduser() if told else found
    return found.resolve()
