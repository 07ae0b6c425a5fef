"""``ser status``: which stages `dvc repro` would run again, and why."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.ground import code
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, read

LOCK = Path("dvc.lock")


@dataclass
class Change:
    """What differs for one stage between ``dvc.lock`` and what lies here.

    ``code`` are the files whose lines changed, ``absent`` the outputs that are not in their place.
    """

    stage: str
    params: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    command: bool = False
    never: bool = False

    def why(self) -> str:
        """In one line."""
        if self.never:
            return "never run"
        told = {"parameter": self.params, "data": self.data, "code": self.code}
        parts = [f"{name}: {', '.join(_few(found))}" for name, found in told.items() if found]
        others = {"command": self.command, "output not here": self.absent}
        return "; ".join([*parts, *(name for name, is_so in others.items() if is_so)])


def main() -> None:
    """Show which stages would run again, and what changed for each: parameter, data or code.

    Code is compared as it is now, whether or not code.yaml was written since. A stage whose inputs
    come from one of these runs only if that writes something else than before.
    """
    from rich.console import Console
    from rich.table import Table

    lock = known(read_lock())
    changed = changes(lock, dvc_status())
    table = Table("stage", "why", box=None, pad_edge=False)
    for change in changed:
        table.add_row(change.stage, change.why())
    after = _after([change.stage for change in changed], lock)
    if after:
        table.add_row(", ".join(_few(after, 8)), "only if one of the above writes other bytes")
    console = Console(soft_wrap=False)
    console.print(table if changed else "nothing would run again")
    if lost := [change.stage for change in changed if change.absent]:
        console.print(
            f"\nOutputs of {len(lost)} stages are not here. `dvc pull` fetches what was pushed, "
            "`dvc checkout` what lies in the cache. If dvc.lock comes from another machine and "
            "neither has them, delete dvc.lock: `dvc repro` then takes what your own cache has."
        )


def read_lock() -> dict[str, Any]:
    """The stages of ``dvc.lock`` by name; none where there is none yet.

    Raises:
        PipelineError: It is cut short or damaged.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not LOCK.is_file():
        return {}
    try:
        document = YAML(typ="safe").load(LOCK.read_text("utf-8"))
        stages: dict[str, Any] = document["stages"]
        whole = all("cmd" in stage for stage in stages.values())
    except (YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise _damaged()
    return stages


def known(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The stages of ``dvc.lock`` that dvc.yaml has, too: an upgrade may have renamed the others."""
    with _repository() as repo:
        names = {stage.addressing for stage in repo.index.stages}
    return {name: stage for name, stage in lock.items() if name in names}


def _damaged() -> PipelineError:
    return PipelineError(
        f"{LOCK}: damaged, or cut by a kill while DVC wrote it, run `git checkout {LOCK}` and then "
        "`dvc repro`, which takes what was finished since from DVC's cache"
    )


def dvc_status() -> dict[str, Any]:
    """What `dvc status` tells of the stages that changed."""
    with _repository() as repo:
        found: dict[str, Any] = repo.status()
    return found


@contextmanager
def _repository() -> Iterator[Any]:
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            yield repo
    except Exception as error:
        if LOCK.name in str(error):  # well-formed YAML, but no lock
            raise _damaged() from None
        raise


def changes(lock: Mapping[str, Any], told: Mapping[str, Any]) -> list[Change]:
    """What changed for each stage, in the order of ``dvc.lock``.

    Args:
        lock: The stages of ``dvc.lock``.
        told: What `dvc status` says; what it says of code.yaml is passed over.
    """
    parsers = {name: one["parser"] for name, one in read(PARAMS_FILE.absolute())["corpus"].items()}
    now = code.digests(parsers)
    found = []
    for name in [*lock, *(name for name in told if name not in lock)]:
        change = _change(name, lock.get(name), told.get(name, []))
        change.code = _code(lock.get(name), now, parsers)
        if change.why() and name != "code":
            found.append(change)
    made = [path for change in found for path in _outs(lock.get(change.stage, {}))]
    for change in found:
        # What comes from a stage above in the table is told there.
        change.data = [one for one in change.data if not any(_meets(one, p) for p in made)]
    return [change for change in found if change.why()]


def _change(name: str, locked: Mapping[str, Any] | None, entries: Sequence[Any]) -> Change:
    change = Change(name, never=locked is None)
    for entry in entries:
        if entry == "changed command":
            change.command = True
            continue
        if not isinstance(entry, Mapping):
            continue
        for path, state in entry.get("changed deps", {}).items():
            if path == str(PARAMS_FILE):
                change.params += [p for key in state for p in _leaves(key, locked or {})]
            elif path != str(code.FILE):
                change.data.append(path)
        change.absent += entry.get("changed outs", {})
    return change


def _leaves(key: str, locked: Mapping[str, Any]) -> list[str]:
    """The parameters below a key that differ from those in ``dvc.lock``."""
    from pipeline.ground.provenance import current, differences

    made = locked.get("params", {}).get(str(PARAMS_FILE), {})
    if key not in made:
        return [key]
    return [name for name, _, _ in differences(key, made[key], current(key))] or [key]


def _code(
    locked: Mapping[str, Any] | None, now: Mapping[str, str], parsers: Mapping[str, str]
) -> list[str]:
    """The files that changed since the stage ran; those of before ``code.yaml`` are not known."""
    if not locked:
        return []
    recorded = locked.get("params", {}).get(str(code.FILE))
    if recorded is None:
        before = any(dep["path"].endswith(".py") for dep in locked.get("deps", []))
        return ["of before code.yaml"] if before else []
    found: list[str] = []
    for key, made in recorded.items():
        if now.get(key, made) != made:
            stage, _, corpus = key.partition(".")
            roots = [f"stages.{stage}"]
            roots += [code.parser_module(parsers[corpus])] if corpus in parsers else []
            found += _edited(key, made, code.closure(*roots))
    return found


def _edited(key: str, made: str, closure: Sequence[Path]) -> list[str]:
    """Which files of a closure differ from those of the commit whose code.yaml has a digest."""
    commits = git("log", "--format=%H", f"-S{made}", "--", str(code.FILE)).split()
    for commit in commits:
        if code.recorded(git("show", f"{commit}:{code.FILE}")).get(key) == made:
            touched = set(git("diff", "--name-only", commit, "--", "pipeline", "stages").split())
            return [str(f) for f in closure if str(f) in touched and _differs(commit, f)] or [
                "a file that is there no more"
            ]
    return ["of a commit that is not here"]


def _differs(commit: str, file: Path) -> bool:
    old = git("show", f"{commit}:{file}")
    return not old or code.bare(old, file) != code.bare((code.ROOT / file).read_text("utf-8"), file)


def git(*words: str) -> str:
    """What a command of Git prints; nothing where it fails, or where there is no Git."""
    import subprocess

    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _after(changed: Sequence[str], lock: Mapping[str, Any]) -> list[str]:
    """The stages whose inputs come from these, by any number of steps."""
    moved = [path for name in changed for path in _outs(lock.get(name, {}))]
    found: list[str] = []
    while True:
        more = [
            name
            for name, stage in lock.items()
            if name not in changed
            and name not in found
            and any(_meets(dep["path"], path) for dep in stage.get("deps", []) for path in moved)
        ]
        if not more:
            return found
        found += more
        moved = [path for name in more for path in _outs(lock[name])]


def _outs(locked: Mapping[str, Any]) -> list[str]:
    return [out["path"] for out in locked.get("outs", [])]


def _meets(dep: str, out: str) -> bool:
    return dep == out or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")


def _few(names: Sequence[str], most: int = 4) -> list[str]:
    rest = len(names) - most
    return [*names[:most], f"and {rest} more"] if rest > 0 else list(names)
