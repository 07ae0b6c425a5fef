"""``ser compare A B``: whether classifiers of one experiment are better than those of another."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline import active
from pipeline.errors import PipelineError

WORKSPACE = "workspace"


def main(
    experiment_a: Annotated[str, typer.Argument(help="An experiment, commit or `workspace`.")],
    experiment_b: Annotated[str, typer.Argument(help="What it is compared with.")],
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the speakers.")] = 2000,
) -> None:
    """Test whether one experiment is better than another, on the same test utterances.

    For each classifier that both have: the UAR of A and of B, the difference B - A with a 95 %
    interval from a bootstrap over speakers and a sign-flip p over speakers, recalls by class.
    Predictions come from DVC's cache (`dvc pull` first, if they lie elsewhere).
    """
    from pipeline.comparison import compare
    from pipeline.scores import Bootstrap

    with tempfile.TemporaryDirectory() as folder:
        a, b = (
            Experiment(name, Path(folder) / side)
            for name, side in ((experiment_a, "a"), (experiment_b, "b"))
        )
        if a.classes != b.classes:
            raise PipelineError("compare: the experiments have other task.classes, nothing to pair")
        common = [system for system in a.systems() if system in set(b.systems())]
        if not common:
            raise PipelineError("compare: the experiments have no start and method in common")
        for system in common:
            found = compare(
                a.read(*system), b.read(*system), len(a.classes), Bootstrap(resamples, 1)
            )
            typer.echo(_text(" ".join(system), found, a.classes))


class Experiment:
    """The params and predictions of one revision."""

    def __init__(self, name: str, folder: Path) -> None:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError
        from ruamel.yaml import YAML

        self._name, self._folder = name, folder
        try:
            self._files = DVCFileSystem(rev=None if name == WORKSPACE else name)
            text = self._files.read_text("params.yaml", encoding="utf-8")
        except (DvcException, SCMError, OSError) as error:
            raise PipelineError(f"{name}: {error}, see `dvc exp list`") from None
        self._params: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
        self._systems = active.classifiers(self._params)
        self.classes: list[str] = self._params["task"]["classes"]

    def systems(self) -> Iterator[tuple[str, str]]:
        """Each start and method."""
        yield from self._systems

    def read(self, start: str, method: str) -> Any:
        """The test predictions of one classifier, over the folds."""
        from pipeline.scores import read_classifier

        paths = {}
        for fold in self._systems[start, method]:
            source = f"artifacts/classifiers/{start}/{method}/{fold}/predictions.csv"
            paths[fold] = self._folder / source
            paths[fold].parent.mkdir(parents=True)
            try:
                paths[fold].write_bytes(self._files.read_bytes(source))
            except OSError as error:
                raise PipelineError(
                    f"{self._name}: {source}: {error.strerror or error}, run `dvc pull --rev`"
                ) from None
        return read_classifier(paths, self.classes)


def _text(name: str, found: Any, classes: list[str]) -> str:
    change = found.uar_b - found.uar_a
    lines = [
        f"{name}: UAR {found.uar_a:.3f} -> {found.uar_b:.3f}, difference {change:+.3f} "
        f"({found.utterances} utterances, {found.speakers} speakers)"
    ]
    if found.p is None:
        lines.append("  no interval or test below 5 speakers")
    else:
        low, high = found.interval
        how = "exact" if found.exact else "sampled"
        lines.append(f"  95 % {low:+.3f} to {high:+.3f}, {how} sign-flip p {found.p:.4f}")
    for label, a, b in zip(classes, found.recall_a, found.recall_b, strict=True):
        lines.append(f"  {label:12} {a:.3f} -> {b:.3f} ({b - a:+.3f})")
    return "\n".join(lines)
