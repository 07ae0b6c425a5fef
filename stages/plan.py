"""plan: check the active lists, and remove what is no longer active from the pooled folders.

A stage that pools corpora or folds depends on their parent folder, since DVC can't expand a list
into deps. A corpus, fold or method that was switched off must not stay there: it would change the
folder's digest, or be mistaken for active. DVC's cache keeps what is removed here.
"""

import shutil
from collections.abc import Collection, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.corpora.manifest import ARTIFACTS
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, Section, load, read
from pipeline.ground.stage import run
from pipeline.methods.finetuning import Cached, Trained
from pipeline.scoring import active

RAW = Path("data/raw")
Names = list[str]
Folds = list[Annotated[int, Field(ge=0)]]


class Methods(Section):
    """The ``methods`` section: the active methods, by what they start from."""

    cached: list[Cached]
    pretrained: list[Trained]
    retrained: list[Trained]


def main() -> None:
    """Check the active lists, prune inactive outputs, record what is active."""
    corpora, encoders = load("corpora", Names), load("encoders", Names)
    features = load("features", Names)
    folds, adapted = load("folds", Folds), load("adapted", Folds)
    load("methods", Methods)
    share_features, share_heads = load("share.features", Names), load("share.heads", Names)
    _require("corpora", corpora, "corpus", load("corpus", dict[str, object]))
    _require("encoders", encoders, "encoder", load("encoder", dict[str, object]))
    _require("pretrained", [load("pretrained", str)], "encoders", encoders)
    _require("features", features, "encoders", encoders)
    _require("adapted", adapted, "folds", folds)
    _require("crnn.features", load("crnn.features", Names), "features", features)
    _require("share.features", share_features, "features", features)
    _require("probe.features", load("probe.features", Names), "features", features)
    heads = load("share.model.feed_forward", dict[str, object])
    _require("share.heads", share_heads, "share.model.feed_forward", heads)
    _require_data(corpora)

    params = read(PARAMS_FILE.absolute())
    results = active.results(params)
    embeddings = [f"{name}/{corpus}.h5" for name, corpus in product(features, corpora)]
    for folder, names in {"clips": corpora, "embeddings": embeddings, **results}.items():
        _prune(ARTIFACTS / folder, names)
    for name in features:
        (ARTIFACTS / "embeddings" / name).mkdir(exist_ok=True)
    files.write_json(ARTIFACTS / "plan" / "corpora.json", corpora)
    files.write_json(ARTIFACTS / "plan" / "results.json", results)


def _require(key: str, names: Sequence[object], where: str, known: Collection[object]) -> None:
    for name in names:
        if name not in known:
            remedy = f"use one of: {', '.join(map(str, known))}" if known else "remove it"
            raise PipelineError(
                f"params.yaml: {key} has {name!r}, which {where} does not define, "
                f"add it there or {remedy}"
            )
        if names.count(name) > 1:
            raise PipelineError(f"params.yaml: {key} has {name!r} twice, remove one")


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


def _prune(folder: Path, active: Names) -> None:
    """Delete every file or folder below ``folder`` that is no part of an active output."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {folder / name for name in active}
    parents = {parent for path in kept for parent in path.parents}
    for path in sorted(folder.rglob("*")):
        if path in parents or kept & {path, *path.parents}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
