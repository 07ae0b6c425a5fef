"""What one waits for before anything is computed: ``python -m benchmarks.startup``.

`dvc repro` with nothing to do, on the demo's graph and on one of 5 corpora, 5 folds and 4 methods
(stage commands are replaced by ones that only write their outputs), its code known to DVC by
``code.yaml`` or by lists of files; ``dvc --version``; the ``--help`` of `ser` and of each stage;
and the import of all that a stage runs on, with an encoder and without. Beside the time on the
clock stands that of the processor: on a busy machine the first says little.
"""

import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.cli.preset import merged
from pipeline.ground.code import ROOT, WITHOUT, closure

LARGE = """
corpora: [crema-d, emodb, ravdess, savee, tess]
folds: [0, 1, 2, 3, 4]
adapted: [0, 1, 2, 3, 4]
methods: {cached: [linear], pretrained: [full, lora-qkv], retrained: [full]}
"""
POOLED = "clips unlabelled classifiers cross units probes stress plan"
RUNS = 5


def graph(folder: Path, overlay: str, by_files: bool = False) -> int:
    """Lay a project out whose stages only write their outputs; return how many there are.

    Its code is known to DVC by ``code.yaml``, or ``by_files``: each stage's import closure.
    """
    for name in ("stages", "pipeline", "data"):
        ignored = shutil.ignore_patterns("__pycache__", "raw")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in (".gitignore", ".dvcignore", ".dvc/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    text = merged((ROOT / "params.yaml").read_text("utf-8"), overlay)
    (folder / "params.yaml").write_text(text, "utf-8")
    settings = YAML(typ="safe").load(text)
    for corpus in [*settings["corpora"], *settings["pretrain"]["corpora"]]:
        (folder / "data/raw" / corpus).mkdir(parents=True)
        (folder / "data/raw" / corpus / "a.wav").touch()
    yaml = YAML()
    document = yaml.load((ROOT / "dvc.yaml").read_text("utf-8"))
    for name, stage in document["stages"].items():
        outs = [*stage.get("outs", []), *stage.get("metrics", [])]
        paths = [out if isinstance(out, str) else next(iter(out)) for out in outs]
        made = [f"mkdir -p {Path(path).parent} && echo {name} {path} > {path}" for path in paths]
        pooled = [f"mkdir -p {' '.join(f'artifacts/{n}' for n in POOLED.split())}"]
        if by_files and name not in WITHOUT:
            files = [path.as_posix() for path in closure(stage["cmd"].split()[2])]
            stage["deps"] = [*stage.get("deps", []), *files]
            stage["params"] = [key for key in stage["params"] if isinstance(key, str)]
        if name != "code":
            stage["cmd"] = " && ".join(pooled * (name == "plan") + made)
    if by_files:
        del document["stages"]["code"]
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    for words in (["git", "init", "-q"], ["dvc", "repro", "-q"]):
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    listed = subprocess.run(
        ["dvc", "stage", "list", "--name-only"], cwd=folder, capture_output=True, check=True
    )
    return len(listed.stdout.split())


def seconds(command: Sequence[str], folder: Path = ROOT) -> str:
    """The medians of a command's wall time and of its CPU time."""
    walls, busy = [], []
    for _ in range(RUNS):
        start, before = time.perf_counter(), children_s()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - start)
        busy.append(children_s() - before)
    return f"{statistics.median(walls):.2f} s (CPU {statistics.median(busy):.2f} s)"


def children_s() -> float:
    """CPU seconds of the finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imports(stage: str) -> list[str]:
    """A command that imports all of the project that a stage runs on."""
    names = [re.sub(r"\.py$", "", str(path)).replace("/", ".") for path in closure(stage)]
    return [sys.executable, "-c", f"import pipeline.ground.stage, {', '.join(names)}"]


def main() -> None:
    """Print medians."""
    print(f"dvc --version: {seconds(['dvc', '--version'])}")
    for title, overlay in (("demo", "{}"), ("5 corpora, 5 folds, 4 methods", LARGE)):
        for by_files in (True, False):
            with tempfile.TemporaryDirectory() as name:
                count = graph(Path(name), overlay, by_files)
                took = seconds(["dvc", "repro"], Path(name))
                lines = len(Path(name, "dvc.lock").read_text("utf-8").splitlines())
            known = "code by lists of files" if by_files else "code by code.yaml"
            print(
                f"dvc repro with nothing to do, {title}, {count} stages, {known}: {took}, "
                f"dvc.lock of {lines} lines"
            )
    print(f"ser --help: {seconds(['ser', '--help'])}")
    for path in sorted((ROOT / "stages").glob("[a-z]*.py")):
        stage = f"stages.{path.stem}"
        kind = (
            "with an encoder"
            if Path("pipeline/encoders/encoder.py") in closure(stage)
            else "without"
        )
        shown = seconds([sys.executable, "-m", stage, "--help"])
        print(f"{stage}: --help {shown}, imports {kind} {seconds(imports(stage))}")


if __name__ == "__main__":
    main()
