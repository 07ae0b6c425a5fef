"""Files that travel to a worker, which may not see the driver's disk: an encoder, a classifier."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.work.cluster import swept


@dataclass(frozen=True)
class Luggage:
    """The content of files by the path that they get where they are unpacked."""

    files: dict[str, bytes]

    @classmethod
    def of(cls, places: Iterable[Path]) -> "Luggage":
        """All files below ``places``, which are files and folders; a relative path stays as it is.

        Raises:
            OSError: One cannot be read.
        """
        found = {
            file
            for place in places
            for file in ([place] if place.is_file() else place.rglob("*"))
            if file.is_file()
        }
        return cls({str(unpacked(file)): file.read_bytes() for file in sorted(found)})

    @cached_property
    def sha256(self) -> str:
        """A checksum of every path and content."""
        total = hashlib.sha256()
        for name, content in self.files.items():
            total.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
        return total.hexdigest()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the files lie below the working directory meanwhile."""
        before = Path.cwd()
        with swept.folder(Path(tempfile.gettempdir()), "ser-luggage-") as folder:
            for name, content in self.files.items():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            os.chdir(folder)
            try:
                yield
            finally:
                os.chdir(before)


def unpacked(path: Path) -> Path:
    """Where a file or folder of the driver's lies in a worker's working directory."""
    return path.relative_to(path.anchor)
