"""``ser adopt``: keep what an older version of the code made, where the results did not change.

After an upgrade the digests of code differ, and `dvc repro` would compute again what may have taken
days. Whether results changed only its authors know: `CHANGELOG.md` says it, stage by stage.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.dvc import dvc
from pipeline.cli.status import LOCK, Change, changes, dvc_status, git, known, read_lock
from pipeline.ground import code
from pipeline.ground.errors import PipelineError

CHANGELOG = Path("CHANGELOG.md")


def main(
    dry_run: Annotated[bool, typer.Option(help="Say what would be kept, write nothing.")] = False,
) -> None:
    """Take outputs over that only the code changed for, where CHANGELOG.md says that it may be.

    A stage is adopted if nothing but its code differs from dvc.lock (no parameter, no data), its
    outputs lie here with the bytes of dvc.lock, and every entry under "Results" that CHANGELOG.md
    got since dvc.lock was committed says "unchanged" or names other stages. Nothing is computed.
    What has another name by now is left to `dvc repro`.
    """
    lock = known(read_lock())
    new = news(CHANGELOG.read_text("utf-8"), _committed(CHANGELOG))
    if not new:
        raise PipelineError(
            f'{CHANGELOG}: has no entry under "Results" since {LOCK} was committed, so nobody says '
            "that results did not change, run `dvc repro`"
        )
    changed = [change for change in changes(lock, dvc_status()) if change.code]
    kept = [change.stage for change in changed if not (refusal(change, lock, new))]
    for change in changed:
        typer.echo(f"{change.stage}: {refusal(change, lock, new) or 'taken over'}")
    if kept and not dry_run:
        # The digests that dvc.lock gets come from code.yaml.
        for words in (["repro", "code"], ["commit", "-f", *kept]):
            if reason := dvc(words):
                raise PipelineError(f"dvc {words[0]}: {reason}, mend that and run it again")
    typer.echo(f"{len(kept)} of {len(changed)} stages whose code changed are taken over")


def news(now: str, before: str) -> list[str]:
    """The entries under "Results" in a changelog that an older one does not have."""
    old = set(_entries(before))
    return [entry for entry in _entries(now) if entry not in old]


def refusal(change: Change, lock: Mapping[str, Any], new: list[str]) -> str:
    """Why a stage must run again; empty where its outputs can be kept."""
    locked = lock[change.stage]
    keys = locked.get("params", {}).get(str(code.FILE)) or re.findall(
        r"stages\.(\w+)", locked["cmd"]
    )
    modules = {key.partition(".")[0] for key in keys}
    named = [e for e in new if modules & set(re.findall(r"`(\w+)`", e.partition(":")[0]))]
    if named:
        return f"{CHANGELOG} says: {named[0]}"
    if change.params or change.data or change.command:
        return f"more than its code changed, {change.why()}"
    if change.absent:
        return f"{change.absent[0]} is not here as {LOCK} has it, `dvc checkout` or `dvc pull` it"
    return ""


def _entries(text: str) -> list[str]:
    """The items of every list under a heading "Results", each in one line."""
    parts = re.findall(r"(?ms)^### Results\n(.*?)(?=^#|\Z)", text)
    items = [item for part in parts for item in re.split(r"(?m)^- ", part)[1:]]
    return [" ".join(item.split()) for item in items]


def _committed(path: Path) -> str:
    """A file as it was when ``dvc.lock`` was last committed."""
    commit = git("log", "-1", "--format=%H", "--", str(LOCK)).strip()
    if not commit:
        raise PipelineError(f"{LOCK}: was never committed, run `dvc repro` and commit it")
    return git("show", f"{commit}:{path}")
