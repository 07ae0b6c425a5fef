"""The estimate that `plan` prints before anything is computed: speech, disk and time."""

import configparser
import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpora.manifest import ARTIFACTS, CLIPS, UNLABELLED
from pipeline.ground import locks
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, read
from pipeline.needs import hours, rates
from pipeline.needs.hours import Amount
from pipeline.needs.rates import RANGE, Kind
from pipeline.needs.steps import EMBEDDINGS, Speech, Step, steps

CACHE = Path(".dvc")
LINKED = ("hardlink", "symlink")


@dataclass(frozen=True)
class Estimate:
    """What the whole active graph needs, whatever of it is there already."""

    steps: list[Step]
    amounts: dict[str, Amount]
    kind: Kind
    copies: int  # of each output: its place, and DVC's cache unless that is linked

    @property
    def kept(self) -> float:
        """Bytes of all outputs, once."""
        return sum(step.kept for step in self.steps)

    @property
    def scratch(self) -> float:
        """Bytes of unfinished work at most: what stays until ``ser cache gc``, and one training."""
        stays = [step.scratch for step in self.steps if step.name.startswith(EMBEDDINGS)]
        passes = [step.scratch for step in self.steps if not step.name.startswith(EMBEDDINGS)]
        return sum(stays) + max(passes, default=0.0)

    @property
    def disk(self) -> float:
        """Bytes of all of it."""
        return self.copies * self.kept + self.scratch

    @property
    def seconds(self) -> float:
        """Of all stages, one after another."""
        return sum(step.total_s for step in self.steps)


def of_params() -> Estimate:
    """That of the params.yaml that lies here.

    Raises:
        PipelineError: A list or a setting is not what it must be.
    """
    try:
        return _of_params()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PipelineError(
            f"params.yaml: no estimate, a setting is not what its stage expects ({error!r}), see "
            "the comments there"
        ) from None


def _of_params() -> Estimate:
    params = read(PARAMS_FILE.absolute())
    told = {name: hours.of(name, CLIPS) for name in params["corpora"]}
    heard = {name: hours.of(name, UNLABELLED) for name in params["pretrain"]["corpora"]}
    copies = 1 + len(params["preprocess"]["augment"])
    kind = rates.kind()
    made = steps(_speech(told.values(), copies), _speech(heard.values(), copies), kind)
    return Estimate(made, {**told, **heard}, kind, 1 if _linked() else 2)


def lines(found: Estimate) -> list[str]:
    """In plain words: the speech, a line for each part, the sums, and a warning."""
    unknown = [name for name, one in found.amounts.items() if one.seconds is None]
    told = [
        f"{name}: {one.seconds / 3600:.2f} hours by {one.source}"
        for name, one in found.amounts.items()
        if one.seconds is not None
    ]
    if not told:
        return [f"no estimate: of unknown length are {', '.join(unknown)}"]
    wide = max(len(step.name) for step in found.steps)
    told += [
        f"{step.name:{wide}} {_bytes(step.kept):>9}  {_time(step.total_s)}" for step in found.steps
    ]
    twice = " and as much in DVC's cache" if found.copies > 1 else ""
    low, high = found.seconds / RANGE, found.seconds * RANGE
    told += [
        f"all that is active: about {_bytes(found.kept)}{twice}, {_bytes(found.scratch)} of "
        f"unfinished work; on a {found.kind.upper()} {_time(low)} to {_time(high)}"
    ]
    if unknown:
        told.append(f"not counted, of unknown length: {', '.join(unknown)}")
    return [*told, *_warning(found)]


def _warning(found: Estimate) -> list[str]:
    """Where the disk is too small for what is not there yet."""
    free = shutil.disk_usage(".").free
    if found.disk <= free:
        return []
    here = sum(_size(path) for path in (ARTIFACTS, CACHE, locks.scratch_root()))
    if found.disk - here <= free:
        return []
    return [
        f"WARNING: {_bytes(free)} are free, and about {_bytes(found.disk - here)} more are needed: "
        "keep fewer layers (extract.frames, extract.means), or free some (`ser cache gc`, `dvc gc`)"
    ]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a training that runs removes some
            total += 0 if path.is_dir() else path.lstat().st_size
    return total


def _speech(amounts: Iterable[Amount], copies: int) -> Speech:
    known = [one for one in amounts if one.seconds is not None]
    seconds = copies * sum(one.seconds or 0.0 for one in known)
    return Speech(seconds, copies * sum(one.clips for one in known), copies)


def _linked() -> bool:
    """Whether DVC's cache and the outputs are the same bytes, by DVC's own settings."""
    config = configparser.ConfigParser()
    config.read([CACHE / "config", CACHE / "config.local"], "utf-8")
    return any(kind in config.get("cache", "type", fallback="") for kind in LINKED)


def _bytes(count: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _time(seconds: float) -> str:
    for size, unit in ((3600 * 24, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"
