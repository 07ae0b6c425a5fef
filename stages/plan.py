"""plan: check the active lists, estimate, and remove what is no longer active from pooled folders.

A stage that pools corpora or folds depends on their parent folder, since DVC can't expand a list
into deps. A corpus, fold or method that was switched off must not stay there: it would change the
folder's digest, or be mistaken for active. DVC's cache keeps what is removed here.
"""

import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import get_args

from pipeline.corpora import registry
from pipeline.corpora.entries import Choice, Row
from pipeline.corpora.manifest import ARTIFACTS, require_name
from pipeline.encoders.layout import OWN
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, load, read
from pipeline.ground.stage import run
from pipeline.needs import estimate
from pipeline.scoring import active, lists, trained_on
from pipeline.splits import scope, targets

RAW = Path("data/raw")
# Stands in a pooled folder of which nothing is active: DVC says of each empty dep that it is.
NOTHING = "nothing-is-active"
Names = list[str]
_CHOSEN = ("table", "column")


def main() -> None:
    """Check the active lists, estimate disk and time, prune inactive outputs, record the active."""
    for name in [*load("corpora", list[object]), *load("corpus", dict[object, object])]:
        require_name(name)
    corpora, features = lists.check(), load("features", Names)
    _require_data([*corpora, *load("pretrain.corpora", Names)])
    _require_classes(corpora)
    _tell_needs()
    _warn_of_met(corpora, dict.fromkeys([*features, load("pretrained", str)]))

    params = read(PARAMS_FILE.absolute())
    results = active.results(params)
    embeddings = [f"{name}/{corpus}.h5" for name, corpus in product(features, corpora)]
    unlabelled, own = params["pretrain"]["corpora"], list(map(str, params["pretrain"]["folds"]))
    inputs = {"clips": corpora, "unlabelled": unlabelled, "embeddings": embeddings}
    if own:
        inputs[f"encoders/{OWN}"] = own
    for folder, names in {**inputs, **results}.items():
        _prune(ARTIFACTS / folder, names)
    for name in features:
        (ARTIFACTS / "embeddings" / name).mkdir(exist_ok=True)
    files.write_json(ARTIFACTS / "plan" / "corpora.json", corpora)
    files.write_json(ARTIFACTS / "plan" / "unlabelled.json", unlabelled)
    files.write_json(ARTIFACTS / "plan" / "results.json", results)


def _require_data(corpora: Names) -> None:
    """Name the remedy before DVC, which only says that a dep is missing."""
    if not corpora:
        raise PipelineError("params.yaml: corpora is empty, name a corpus that `corpus` defines")
    for name in corpora:
        folder = RAW / name
        synthetic = load(f"corpus.{name}.parser", str) == "demo"
        if not (synthetic or folder.is_dir() or folder.with_name(f"{name}.dvc").is_file()):
            raise PipelineError(
                f"{folder}: no such folder, put the corpus there (docs/corpora.md) and track it "
                f"with `dvc add {folder}`"
            )


def _require_classes(corpora: Names) -> None:
    """Say which labels take no part, and stop over classes that none of them fills.

    Corpora that are not there yet, or that `preprocess` will refuse, are left to `split`.
    """
    tasks = active.tasks(active.checked())
    rows = _rows(corpora) if tasks else None
    if rows is None:
        return
    for name in tasks:
        key, task = f"task.{name}", targets.of(name)
        held = Counter((corpus, label) for corpus, row in rows for label in task.held(row))
        for line in scope.lines(key, task, held):
            progress.say(line)
        scope.require_filled(key, task, held)


def _rows(corpora: Names) -> list[tuple[str, Row]] | None:
    """What the parsers read of each corpus; None where one can't be read yet."""
    found = []
    for name in corpora:
        told = load(f"corpus.{name}", dict[str, object])
        parser, choice = str(told["parser"]), Choice(*(str(told.get(n, "")) for n in _CHOSEN))
        # The demo's corpus is made later, by a stage: what lies there may be of older settings.
        if parser == "demo" or parser not in get_args(registry.Parser):
            return None
        try:
            entries = registry.entries(parser, RAW / name, choice)
            rows = [(name, entry) for entry in entries if isinstance(entry, Row)]
        except (PipelineError, OSError):
            rows = []
        if not rows:
            return None
        found += rows
    return found


def _tell_needs() -> None:
    """Say what all of this will take; what is wrong in a section, its own stage says."""
    try:
        told = estimate.lines(estimate.of_params())
    except PipelineError as error:
        told = [str(error)]
    for line in told:
        progress.say(line)


def _warn_of_met(corpora: Names, encoders: Iterable[str]) -> None:
    """Say before anything is computed which scores will be on speech that the encoder knows."""
    parsers = {name: load(f"corpus.{name}.parser", str) for name in corpora}
    defined = load("encoder", dict[str, dict[str, object]])
    for name in encoders:
        # What `pretrain` makes has heard what its start had.
        entry = defined.get(name) or defined[load("pretrain.start", str)]
        if known := trained_on.met(parsers, [entry]):
            progress.say(
                f"{name}: was trained on {', '.join(known)}, its scores there are marked, since "
                "none is one on unseen speech"
            )


def _prune(folder: Path, active: Names) -> None:
    """Delete every file or folder below ``folder`` that is no part of an active output."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {folder / name for name in active or [NOTHING]}
    parents = {parent for path in kept for parent in path.parents}
    for path in sorted(folder.rglob("*")):
        if path in parents or kept & {path, *path.parents}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not active:
        (folder / NOTHING).touch()


if __name__ == "__main__":
    run(main)
