"""Experiments of DVC: what each was set to, what it measured, and which repeat another's settings.

Repetitions differ in ``seed`` alone; they are pooled by ``ser show --experiments`` and ``ser
compare --seeds``. Everything is read from Git and from DVC's cache, nothing is checked out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpora import manifest
from pipeline.ground import documents, files, provenance
from pipeline.ground.errors import PipelineError
from pipeline.scoring import active
from pipeline.scoring.active import System
from pipeline.splits import folds, train_share
from pipeline.splits.targets import FIELDS, kind

WORKSPACE = "workspace"
REPEATED = ("seed", "runtime")  # in what repetitions may differ


class Experiment:
    """One revision: an experiment, a commit or the workspace; repetitions differ in ``seed``.

    Raises:
        PipelineError: There is no such revision, or it has no params.yaml.
    """

    def __init__(self, name: str) -> None:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError

        self.name = name
        try:
            self._files = DVCFileSystem(rev=None if name == WORKSPACE else name)
            text = self._files.read_text("params.yaml", encoding="utf-8")
        except (DvcException, SCMError, OSError) as error:
            raise PipelineError(f"{name}: {error}, see `dvc exp list`") from None
        self.params: dict[str, Any] = documents.parse(text, f"{name}: params.yaml")
        try:
            self.tasks: dict[str, Any] = self.params["task"]
            self.systems = active.classifiers(self.params)
            self.seed = int(self.params["seed"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise PipelineError(
                f"{name}: its params.yaml is of another version, name another"
            ) from None

    @property
    def settings(self) -> dict[str, Any]:
        """All that repetitions have in common, by dotted key."""
        return dict(_flat({k: v for k, v in self.params.items() if k not in REPEATED}))

    def names(self, system: System) -> list[str]:
        """The outputs of a system's task: classes, or dimensions."""
        task = self.tasks[system[0]]
        names: list[str] = task[FIELDS[task["target"]]]
        return names

    def target(self, system: System) -> str:
        """What a system's task predicts; shares are told as dimensions are."""
        return kind(str(self.tasks[system[0]]["target"]))

    def metrics(self) -> dict[str, Any] | None:
        """What results/metrics.json held; None before `evaluate` has run."""
        try:
            found: dict[str, Any] = json.loads(self._files.read_text("results/metrics.json"))
        except OSError:
            return None
        except ValueError:
            raise PipelineError(
                f"{self.name}: results/metrics.json is damaged, run `dvc repro evaluate`"
            ) from None
        return found

    def predictions(self, system: System, folder: Path) -> Any:
        """The test predictions of one classifier over its folds, by way of an empty ``folder``."""
        from pipeline.scoring import evaluation

        paths = self.copied(system, folder)
        return evaluation.read(paths, self.target(system), self.names(system), system[0])

    def copied(self, system: System, folder: Path) -> dict[int, Path]:
        """The ``predictions.csv`` of each fold of one classifier, copied into an empty ``folder``.

        Each lies in a folder of its fold, beside its calibration where it has one.

        Raises:
            PipelineError: One is not in DVC's cache, or not in the workspace as it says.
        """
        from pipeline.methods import calibration

        paths = {}
        for fold in self.systems[system]:
            source = "/".join(["artifacts/classifiers", *system, str(fold)])
            paths[fold] = folder / str(fold) / "predictions.csv"
            paths[fold].parent.mkdir(parents=True)
            if self.name == WORKSPACE:  # whose params.yaml may be ahead of its artefacts
                provenance.require(Path(source))
            self._copy(f"{source}/predictions.csv", paths[fold])
            if self._files.exists(f"{source}/{calibration.FILE}"):
                target = paths[fold].with_name(calibration.FILE)
                self._copy(f"{source}/{calibration.FILE}", target)
        return paths

    def training_speakers(self, used: Sequence[int], folder: Path) -> list[int]:
        """How many speakers train in each of these folds, by way of an empty ``folder``."""
        corpora, place = self.params["corpora"], folder / "folds.csv"
        self._copy(str(folds.FOLDS), place)
        for name in corpora:
            (folder / name).mkdir()
            target = folder / name / "manifest.csv"
            self._copy(str(manifest.CLIPS / name / target.name), target)
        clips, made = manifest.read(corpora, folder), folds.read_all(place)
        return [len(train_share.speakers(clips, folds.of(made, fold))) for fold in used]

    def _copy(self, source: str, target: Path) -> None:
        try:
            target.write_bytes(self._files.read_bytes(source))
        except Exception as error:  # noqa: BLE001 - DVC's own kinds, and of what it is made of
            reason = getattr(error, "strerror", None) or error
            raise PipelineError(f"{self.name}: {source}: {reason}, run `dvc pull --rev`") from None


def every() -> list[Experiment]:
    """All experiments of the repository, in the order of `dvc exp list`."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            found = repo.experiments.ls(all_commits=True)
    except NotDvcRepoError:
        raise PipelineError(
            f"experiments: {Path.cwd()} is in no DVC repository, run it in your clone"
        ) from None
    except LockError as error:  # while experiments run
        raise PipelineError(f"experiments: {error}, wait until the others are done") from None
    return [Experiment(name) for named in found.values() for name, *_ in named]


def groups(experiments: Sequence[Experiment]) -> list[list[Experiment]]:
    """Experiments whose settings are alike, by seed, each seed once."""
    found: dict[str, dict[int, Experiment]] = {}
    for one in experiments:
        found.setdefault(files.digest(one.settings), {}).setdefault(one.seed, one)
    return [[group[seed] for seed in sorted(group)] for group in found.values()]


def repetitions(name: str) -> list[Experiment]:
    """The named experiment and all that differ from it in the seed alone."""
    one = Experiment(name)
    return next(group for group in groups([one, *every()]) if one in group)


def differences(found: Sequence[Sequence[Experiment]]) -> list[str]:
    """For each group its settings that not every group has, ``key=value`` a line."""
    settings = [group[0].settings for group in found]
    shared = set.intersection(*({(k, str(v)) for k, v in s.items()} for s in settings))
    changed = [{(k, str(v)) for k, v in s.items()} - shared for s in settings]
    return ["\n".join(f"{k}={v}" for k, v in sorted(one)) for one in changed]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
