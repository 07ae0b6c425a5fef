"""The wheel holds one top-level package, `ser_pipeline`, with the library inside it.

In the repository the library is `pipeline`: a name that others' scripts and packages have, too, so
that an installed one would stand in their way, and they in its. Here it becomes
`ser_pipeline.pipeline`: its imports are renamed by their places in the syntax tree, and a build
fails where one is left. Nothing is renamed when the wheel is used, so that two versions of
`pipeline` may be in one process, and what a traceback shows is what is there. `stages`, which are
started by DVC in a clone, stay out. An editable install is the clone itself.
"""

import ast
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY, SHIPPED = "pipeline", "ser_pipeline"


class Library(BuildHookInterface):
    """Adds the renamed library to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; ``version`` is that of the target."""
        if version == "editable":
            return
        root = Path(self.root)
        self.renamed = Path(tempfile.mkdtemp())
        # Of the package itself hatchling takes the files as they lie: renamed ones go over them.
        for file in [*root.joinpath(LIBRARY).rglob("*.py"), *root.joinpath(SHIPPED).glob("*.py")]:
            place = file.relative_to(root)
            inside = place.relative_to(SHIPPED) if place.parts[0] == SHIPPED else place
            target = self.renamed / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(renamed(file.read_text("utf-8"), str(place)), "utf-8")
        shutil.copy(root / SHIPPED / "py.typed", self.renamed)
        build_data["force_include"][str(self.renamed)] = SHIPPED

    def finalize(self, version: str, *_: Any) -> None:
        """Called by hatchling once the wheel is written."""
        if version != "editable":
            shutil.rmtree(self.renamed)


def renamed(source: str, place: str) -> str:
    """The text of a module whose imports of the library name it where the wheel has it.

    Raises:
        ValueError: An import binds the library's own name, or is of what is not shipped.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots = {str(node.module).split(".")[0]}
        else:
            continue
        old = f"from {LIBRARY}."
        if roots == {LIBRARY} and lines[node.lineno - 1].lstrip().startswith(old):
            new = f"from {SHIPPED}.{LIBRARY}."
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(old, new, 1)
        elif roots & {LIBRARY, "stages", "tests", "benchmarks"}:
            raise ValueError(f"{place}: line {node.lineno}: write `from {LIBRARY}.x import y`")
    return "".join(lines)
