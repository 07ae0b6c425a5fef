"""A project as each member of a team has it: a small demo corpus, real `git`, `dvc` and stages."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.preset import merged
from pipeline.ground.code import ROOT

SMALL = """
corpora: [demo]
encoders: [fbank]
features: [fbank]
folds: [0]
adapted: []
methods: {cached: [linear], pretrained: [], retrained: []}
pretrained: fbank
task: {emotion: {classes: [angry, sad], merge: {}}}
tasks: {cached: [emotion]}
synthesize: {speakers: 4, takes: 1}
split: {by: speaker, count: 2}
extract: {frames: [last], means: [last]}
finetune: {methods: {linear: {pooling: mean}}}
networks: {features: []}
probe: {features: []}
evaluate: {bootstrap: 100}
"""


@dataclass(frozen=True)
class Colleague:
    """One clone of the project, with DVC's cache inside it."""

    folder: Path

    @classmethod
    def found(cls, folder: Path) -> "Colleague":
        """Start the project in ``folder``: its code, settings and first commit."""
        for name in ("stages", "pipeline", ".dvc/plots"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        names = ("dvc.yaml", "params.yaml", "code.yaml", "data/folds.csv", "results/live/.gitkeep")
        for name in (*names, ".dvcignore", ".gitignore", ".dvc/config"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        one = cls(folder)
        one.run("git", "init", "-q")
        one.change(SMALL)
        one.commit("Set up")
        return one

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands: nothing of this process's own settings but where programs are."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder.parent),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def run(self, *words: str) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def change(self, overlay: str) -> None:
        path = self.folder / "params.yaml"
        path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")

    def commit(self, message: str) -> None:
        self.run("git", "add", ".")
        who = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org")
        self.run("git", *who, "commit", "-qm", message)

    def repro(self, *options: str) -> tuple[set[str], set[str]]:
        """Which stages ran, and which came from a cache without running."""
        out = self.run("dvc", "repro", *options)
        return (
            set(re.findall(r"^Running stage '(.+)':$", out, re.M)),
            set(re.findall(r"^Stage '(.+)' is cached - skipping run", out, re.M)),
        )

    def copy(self, target: Path) -> "Colleague":
        """The same, with all that has run, to go on from."""
        shutil.copytree(self.folder, target, symlinks=True)
        return Colleague(target)

    def clone(self, name: str) -> "Colleague":
        target = self.folder.parent / name
        self.run("git", "clone", "-q", str(self.folder), str(target))
        return Colleague(target)

    @property
    def uar(self) -> float:
        metrics = json.loads((self.folder / "results/metrics.json").read_text("utf-8"))
        return float(metrics["emotion"]["fbank"]["linear"]["uar"])
