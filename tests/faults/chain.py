"""Every stage on a corpus in miniature: the chain that faults are tried on.

`build` runs the real commands one after another, each in a fork of this process (which has loaded
what they need), so that a stage takes tenths of a second and can be killed at any moment.
"""

import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np

from pipeline.cli.preset import merged
from pipeline.ground import params, stage
from pipeline.ground.code import ROOT, closure
from tests.recordings import labelled, record

OVERLAY = """
encoders: [untrained, fbank]
pretrained: untrained
features: [fbank]
folds: [0]
adapted: [0]
task: {emotion: {classes: [happy, sad], merge: {}}, share: {emotions: [grief, joy]}}
tasks: {cached: [emotion]}
methods: {cached: [linear], pretrained: [lora-qkv], retrained: [full]}
runtime: {workers: 1, device: cpu}
encoder:
  untrained: {blocks: 2, width: 16, heads: 2, feed_forward: 24, conv_width: 8}
  fbank: {bands: 12}
synthesize: {speakers: 2, takes: 1}
split: {by: speaker, count: 2}
multitask: {epochs: 1, lstm_width: 8}
frames: {layer: -1}
cluster: {scales: [2, 4], sample: 400, iterations: 4}
retrain: {epochs: 1}
finetune:
  model: {layer: last, projection: 8}
  training: {epochs: 2}
  methods: {linear: {c: [1.0]}}
crnn:
  features: [fbank]
  model: {channels: [4, 4], gru_width: 4}
  training: {epochs: 2}
networks:
  features: [fbank]
  model:
    conv: [4, 4]
    lstm_width: 4
    feed_forward: {cnn-lstm-attention: [4, 4]}
  training: {epochs: 2}
probe: {features: [fbank], c: [1.0]}
stress: {classifiers: [emotion/fbank/linear], conditions: [noise-10], voices: 1}
evaluate: {bootstrap: 100}
"""


@dataclass(frozen=True)
class Step:
    """A stage's command and what it writes."""

    command: str
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.command.replace("--", "").replace(" ", "-")


FOLDS = "artifacts/folds.csv"
CLASSIFIERS = "artifacts/classifiers/emotion"
SHARE = "artifacts/classifiers/share/fbank/cnn-lstm-attention/0"
RESULTS = ("tables", "plots", "scores.json", "report.html", "metrics.json")
STEPS = [
    Step("plan", ("artifacts/plan/corpora.json", "artifacts/plan/results.json")),
    Step("preprocess --corpus demo", ("artifacts/clips/demo",)),
    Step("encoder --name untrained", ("artifacts/encoders/untrained",)),
    Step("encoder --name fbank", ("artifacts/encoders/fbank",)),
    Step("split", tuple(f"{FOLDS}{end}" for end in ("", ".sha256", ".provenance.json"))),
    Step("extract --encoder fbank --corpus demo", ("artifacts/embeddings/fbank/demo.h5",)),
    Step("multitask --fold 0", ("artifacts/multitask/0",)),
    Step("extract --fold 0", ("artifacts/frames/0.h5",)),
    Step("cluster --fold 0", ("artifacts/units/0",)),
    Step("retrain --fold 0", ("artifacts/retrained/0",)),
    Step(
        "finetune --task emotion --start pretrained --method lora-qkv --fold 0",
        (f"{CLASSIFIERS}/pretrained/lora-qkv/0",),
    ),
    Step(
        "finetune --task emotion --start retrained --method full --fold 0",
        (f"{CLASSIFIERS}/retrained/full/0",),
    ),
    Step(
        "finetune_cached --task emotion --features fbank --method linear --fold 0",
        (f"{CLASSIFIERS}/fbank/linear/0",),
    ),
    Step("crnn --task emotion --features fbank --fold 0", (f"{CLASSIFIERS}/fbank/crnn/0",)),
    Step("probe --task emotion --features fbank", ("artifacts/probes/emotion/fbank",)),
    Step("networks --task share --features fbank --method cnn-lstm-attention --fold 0", (SHARE,)),
    Step("stress --classifier emotion/fbank/linear", ("artifacts/stress/emotion/fbank/linear",)),
    Step("evaluate", tuple(f"results/{name}" for name in RESULTS)),
]
# It makes the corpus that the chain starts from, which here is another.
SYNTHESIZE = Step("synthesize", ("data/raw/demo",))
IDS = [step.name for step in STEPS]


def step_of(command: str) -> Step:
    return next(step for step in STEPS if step.command.startswith(command))


def toy(project: Path) -> None:
    """params.yaml and a corpus of 16 half-second recordings by four speakers."""
    text = merged((ROOT / "params.yaml").read_text("utf-8"), OVERLAY)
    (project / "params.yaml").write_text(text, "utf-8")
    raw, rows = project / "data/raw/demo", []
    rng = np.random.default_rng(0)
    for number in range(16):
        speaker, emotion = number % 4, ("happy", "sad")[number // 4 % 2]
        gender, share = ("female", "male")[speaker % 2], rng.integers(1, 9) / 10
        rows.append(f"wav/{number}.wav,{emotion},s{speaker},{gender},{share},{1 - share:.1f}")
        time_s = np.arange(rng.integers(6_000, 10_000)) / 16_000
        wave = 0.3 * np.sin(2 * np.pi * (150 if emotion == "sad" else 300) * time_s)
        wave += 0.05 * rng.standard_normal(len(wave))
        record(raw / f"wav/{number}.wav", wave.astype(np.float32))
    labelled(raw, rows, "path,emotion,speaker,gender,share_joy,share_grief")


def build(project: Path) -> Path:
    """Make the corpus and run every stage on it."""
    project.mkdir(parents=True, exist_ok=True)
    toy(project)
    for step in STEPS:
        status, told = run(project, step)
        assert status == 0, told
    return project


def copy(reference: Path, project: Path) -> Path:
    return Path(shutil.copytree(reference, project))


def start(project: Path, step: Step, prepare: Callable[[], None] = lambda: None) -> int:
    """Fork a process that runs the stage as its command would; its process group is its own."""
    load()
    if child := os.fork():
        return child
    os.setpgid(0, 0)
    _be_the_stage(project, step, prepare)


def run(project: Path, step: Step, prepare: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Run the stage to its end: exit status (negative: the signal that ended it), and stderr."""
    return wait(project, start(project, step, prepare))


def wait(project: Path, child: int) -> tuple[int, str]:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), (project / "stderr").read_text("utf-8", "replace")


@cache
def load() -> None:
    """Import before a fork all that the stages import after it: a fork then takes tenths."""
    import h5py  # noqa: F401
    import peft  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import transformers.models.hubert.modeling_hubert  # noqa: F401
    from matplotlib import font_manager  # noqa: F401

    for stage_name in {step.command.split()[0] for step in [SYNTHESIZE, *STEPS]}:
        for path in closure(f"stages.{stage_name}"):
            importlib.import_module(".".join(path.with_suffix("").parts))


def _be_the_stage(project: Path, step: Step, prepare: Callable[[], None]) -> NoReturn:
    status = 70
    try:
        os.chdir(project)
        os.environ["SER_SCRATCH"] = ".scratch"
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stderr = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stderr, 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        params.read.cache_clear()
        name, *arguments = step.command.split()
        main = importlib.import_module(f"stages.{name}").main
        sys.argv = [name, *arguments]
        prepare()
        stage.run(main)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        with suppress(OSError):  # the disk may be full for what is said, too
            sys.stderr.flush()
        os._exit(status)


def contents(project: Path, step: Step) -> dict[str, bytes]:
    """The bytes of every file that the step writes, by path."""
    found: dict[str, bytes] = {}
    for output in step.outputs:
        path = project / output
        paths = [path, *path.rglob("*")] if path.exists() else []
        found |= {str(p.relative_to(project)): p.read_bytes() for p in paths if p.is_file()}
    return dict(sorted(found.items()))


def remove(project: Path, step: Step) -> None:
    """Delete what the step writes, as DVC does before it runs it."""
    for output in step.outputs:
        path = project / output
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def leftovers(project: Path) -> list[Path]:
    return [*(project / "artifacts/.staging").glob("*")]


if __name__ == "__main__":
    began = time.monotonic()
    load()
    print(f"load {time.monotonic() - began:.2f} s")  # noqa: T201
    target = Path(sys.argv[1])
    target.mkdir()
    toy(target)
    for one in STEPS:
        began = time.monotonic()
        ended, said = run(target, one)
        print(f"{time.monotonic() - began:6.2f} s {ended} {one.name}")  # noqa: T201
        if ended:
            print(said)  # noqa: T201
