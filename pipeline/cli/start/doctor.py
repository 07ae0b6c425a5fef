"""``ser doctor``: what this machine has, and what is wrong with it; for a person and for issues."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from pipeline.cli.status import git, read_lock
from pipeline.ground.errors import PipelineError
from pipeline.ground.locks import scratch_root
from pipeline.ground.params import PARAMS_FILE, read

PACKAGE = "ser-pipeline"
NEEDED = ("torch", "transformers", "peft", "dvc", "numpy", "h5py", "scikit-learn", "librosa")
LEAST_GB = 10
GB = 1e9


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what is there, and what is wrong; empty where nothing is."""

    name: str
    found: str
    wrong: str = ""


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print versions, devices, disk and remotes, and what is wrong; exit 1 if anything is.

    Nothing is written and nobody is asked over the net. No name of a person or host is printed.
    """
    findings = [finding for look in LOOKS for finding in looked(look)]
    wrong = [one for one in findings if one.wrong]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        width = max(len(one.name) for one in findings)
        for one in findings:
            typer.echo(f"{'!' if one.wrong else ' '} {one.name:{width}}  {one.found}")
        typer.echo()
        for one in wrong:
            typer.echo(f"! {one.name}: {one.wrong}")
        typer.echo("nothing is wrong" if not wrong else f"{len(wrong)} to mend")
    raise typer.Exit(1 if wrong else 0)


def looked(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a look finds; that it failed is a finding, too."""
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 -- a broken machine is what this command is for
        name = look.__name__.strip("_")
        return [Finding(name, "?", f"{type(error).__name__}: {error}")]


def _versions() -> Iterator[Finding]:
    commit = git("rev-parse", "--short", "HEAD").strip()
    yield Finding(PACKAGE, metadata.version(PACKAGE) + (f", commit {commit}" if commit else ""))
    yield Finding("python", f"{platform.python_version()}, {platform.platform()}")
    for name in NEEDED:
        yield _package(name)
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    for one in wanted:
        have = _version(one.name)
        if have and not one.specifier.contains(have, prereleases=True):
            yield Finding(one.name, have, f"must be {one.specifier}, run the README's pip line")


def _package(name: str) -> Finding:
    have = _version(name)
    missing = "not installed, run `make install`"
    return Finding(name, have or "-", "" if have else missing)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _faiss() -> Iterator[Finding]:
    have = [name for name in ("faiss-cpu", "faiss-gpu") if _version(name)]
    if len(have) != 1:
        rule = "both are installed, which breaks it" if have else "not installed"
        yield Finding(
            "faiss", ", ".join(have) or "-", f"{rule}; install one of the extras cpu and gpu"
        )
        return
    import faiss

    from pipeline.units import nearest  # noqa: F401 -- it names the kernels while faiss is loaded

    options = faiss.get_compile_options().strip()
    yield Finding("faiss", f"{have[0]} {_version(have[0])}, {options}")


def _cpu() -> Iterator[Finding]:
    import torch

    text = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    able = torch.backends.cpu.get_cpu_capability()
    yield Finding("cpu", f"{names[0] if names else platform.machine()}, {os.cpu_count()}, {able}")
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    waits = os.environ.get("OMP_WAIT_POLICY", "unset")
    yield Finding("threads", f"OMP_NUM_THREADS {threads}, OMP_WAIT_POLICY {waits}")


def _gpu() -> Iterator[Finding]:
    import torch

    cards = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    driver = ""
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
        driver = ran.stdout.strip().partition("\n")[0]
    wrong = ""
    if driver and not cards:
        wrong = f"torch {_version('torch')} sees no card, install a CUDA build for driver {driver}"
    elif cards and _version("faiss-cpu"):
        wrong = "faiss-cpu is installed beside a card, install the extra gpu in place of cpu"
    told = [*cards, *([f"driver {driver}"] if driver else [])]
    yield Finding("gpu", ", ".join(told) or "none", wrong)


def _programs() -> Iterator[Finding]:
    for name, what in (("git", "versions and commits"), ("ffmpeg", "m4a, mp4, webm")):
        where = shutil.which(name)
        lacks = f"{what} need it, install it" if name == "git" and not where else ""
        yield Finding(name, "there" if where else f"- ({what})", lacks)


def _extras() -> Iterator[Finding]:
    made = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    having = []
    for extra in made:
        own = [r for r in wanted if r.marker and r.marker.evaluate({"extra": extra})]
        own = [r for r in own if not r.marker or not r.marker.evaluate({"extra": ""})]
        if own and all(_version(one.name) for one in own):
            having.append(extra)
    yield Finding("extras", ", ".join(having) or "none")


def _disk() -> Iterator[Finding]:
    for name, place in (
        ("project", Path()),
        ("scratch", scratch_root()),
        ("DVC's cache", _cache()),
    ):
        there = next(one for one in (place.absolute(), *place.absolute().parents) if one.exists())
        free = shutil.disk_usage(there).free / GB
        low = f"less than {LEAST_GB} GB are free, free some" if free < LEAST_GB else ""
        yield Finding(f"disk: {name}", f"{free:.0f} GB free", low)


def _cache() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)


def _remote() -> Iterator[Finding]:
    from dvc.repo import Repo

    with Repo() as repo:
        names = list(repo.config.get("remote", {}))
        default = repo.config["core"].get("remote")
    told = ", ".join(f"{name} (default)" if name == default else name for name in names)
    yield Finding("remotes", told or "none: nothing is shared yet")


def _project() -> Iterator[Finding]:
    try:
        read(PARAMS_FILE.absolute())
        yield Finding("params.yaml", "reads")
        read_lock()
        yield Finding("dvc.lock", "reads")
    except PipelineError as error:
        yield Finding("project", "does not read", str(error))


LOOKS = (_versions, _faiss, _cpu, _gpu, _programs, _extras, _disk, _remote, _project)
