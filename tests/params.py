"""Settings of a test's project."""

from pathlib import Path

from pipeline.cli.preset import merged
from pipeline.ground import params


def set_runtime(**values: object) -> None:
    """Have the project in the working directory run with these values of ``runtime``."""
    path = Path("params.yaml")
    told = ", ".join(f"{name}: {value!r}" for name, value in values.items())
    path.write_text(merged(path.read_text("utf-8"), f"runtime: {{{told}}}"), "utf-8")
    params.read.cache_clear()
