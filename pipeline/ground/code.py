"""Which of the project's files a stage's code is: its import closure.

`dvc.yaml` lists these files as deps of the stage (a test holds the two together), and resumable
work in the scratch store is keyed by their content. The ground layer is left out: it computes no
numbers. Library versions are left out too; the parameter ``numerics_version`` stands for them.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GROUND = Path("pipeline/ground")


def closure(module: str) -> list[Path]:
    """The files of ``module`` and of all it imports in this project, sorted, less the ground.

    Imports inside functions count. Paths are relative to the project's root.
    """
    found: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += [n for n in imports(_file(name)) if _file(n).is_file()]
    files = {_file(name).relative_to(ROOT) for name in found}
    return sorted(f for f in files if GROUND not in f.parents and f.name != "__init__.py")


def modules(package: str) -> dict[str, Path]:
    """The file of each module below a package, by its dotted name; packages themselves left out."""
    found = sorted(ROOT.joinpath(package).rglob("*.py"))
    dotted = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in found}
    return {name: file for name, file in dotted.items() if file.name != "__init__.py"}


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(file: Path) -> set[str]:
    """The dotted names that a file imports from this project, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from pipeline.work import pool` and `from pipeline.work.pool import forked` count.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("pipeline", "stages")}
