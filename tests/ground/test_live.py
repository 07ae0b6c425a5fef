"""Learning curves while a training runs: drawn beside DVC's lock, whole after a kill."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.ground import files, live
from pipeline.ground.live import COLUMNS, Curve
from pipeline.splits.targets import Emotion
from pipeline.splits.task import of_role
from pipeline.splits.valued import Dimensions
from pipeline.training import loop, predictions
from tests.patience import wait_until
from tests.speech import small_encoder, tone_clips
from tests.team import Colleague
from tests.training.test_fit import classifier, fit_of

TARGET = Path("artifacts/classifiers/emotion/tiny/full/0")
NAME = "classifiers-emotion-tiny-full-0.csv"
TARGETS = (
    Emotion(target="emotion", classes=["angry", "sad"], merge={}),
    Dimensions(target="dimensions", dimensions=["arousal"], loss="ccc"),
)
# Minutes of training, in epochs of milliseconds.
LONG = """
methods: {cached: [frozen]}
finetune: {methods: {frozen: {training: {epochs: 100000, learning_rate: 1e-4}}}}
"""


def rows(folder: Path = Path(), name: str = NAME) -> list[dict[str, str]]:
    return files.read_csv(folder / live.FOLDER / name)


def test_the_columns_are_those_of_what_a_stage_leaves() -> None:
    ways = {column: None for target in TARGETS for column in predictions.history_of(target)}
    assert tuple(ways) == COLUMNS


@pytest.mark.parametrize(("steps", "planned"), [(0, 5), (3, 5), (7, 25), (25, 25), (99, 1000)])
def test_a_curve_has_each_epoch_and_the_parts_of_the_next(
    project: Path, steps: int, planned: int
) -> None:
    history = [{"epoch": 1.0, "train_loss": 2.0, "dev_loss": 1.5, "dev_uar": 0.25}] * 2
    rng = np.random.default_rng(0)
    taken = [(float(loss), 1.0 + n % 7) for n, loss in enumerate(rng.uniform(1, 9, steps))]
    Curve(TARGET).write(history, [[pair] for pair in taken], planned, now=True)
    found = rows()
    assert [row["dev_uar"] for row in found[:2]] == ["0.25", "0.25"]
    assert len(found) - 2 <= live.PARTS
    ends = [0, *(round((float(row["epoch"]) - 2) * planned) for row in found[2:])]
    assert ends == sorted(set(ends)) and ends[-1] == len(taken)
    for row, first, last in zip(found[2:], ends, ends[1:], strict=False):
        loss, weight = np.sum(taken[first:last], 0)
        assert float(row["train_loss"]) == pytest.approx(loss / weight, rel=1e-4)
        assert row["dev_loss"] == ""


def test_models_that_train_together_have_their_mean(project: Path) -> None:
    row = {"epoch": 1.0, "train_loss_joy": 2.0, "train_loss_fear": 4.0, "dev_loss_joy": 1.0}
    Curve(TARGET).write([row], [[(6.0, 2.0), (3.0, 3.0)]], 4, now=True)
    cells = [[row[name] for name in COLUMNS] for row in rows()]
    assert cells == [["1", "3", "1", "", ""], ["1.25", "2", "", "", ""]]


def test_a_curve_of_other_parameters_begins_anew_and_a_full_disk_stops_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Curve(TARGET).write([{"epoch": 1.0, "train_loss": 2.0}], now=True)
    assert len(rows()) == 1
    Curve(TARGET).write([], now=True)
    assert not (live.FOLDER / NAME).exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_csv", full)
    Curve(TARGET).write([{"epoch": 1.0, "train_loss": 2.0}], now=True)


def test_the_loop_shows_steps_within_an_epoch(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ground.progress.LINE_EVERY_S", 0.0)
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    clips, model = tone_clips(30), classifier(small_encoder(project / "encoder"))
    seen: list[list[float]] = []

    def score() -> dict[str, float]:
        seen.append([float(row["epoch"]) for row in rows()])
        return {"dev_loss": 1.0}

    train, dev = of_role(clips, "train"), of_role(clips, "dev")
    loop.train(fit_of(model), model, train, dev, score, TARGET)
    third = 1 / 3  # three steps an epoch, the last of which is the epoch
    assert seen[1] == pytest.approx([1, 1 + third, 1 + 2 * third, 2], abs=1e-4)
    assert [float(row["epoch"]) for row in rows()] == [1, 2, 3]
    assert rows()[-1]["dev_loss"] == "1"


def drawn(one: Colleague) -> dict[str, list[dict[str, str]]]:
    """The points of each curve that DVC draws, by file; none may be missed."""
    told = json.loads(one.run("dvc", "plots", "show", "--json"))
    assert told.get("errors", []) == []
    found = {}
    for name, plots in told["data"].items():
        if name.startswith("results/live"):
            found[name] = plots[0]["content"]["data"]["values"]
    return found


def test_dvc_draws_the_score_of_each_target(begun: Colleague, tmp_path: Path) -> None:
    """UAR of classes and CCC of dimensions, each in a panel of its own; DVC misses neither."""
    one = begun.copy(tmp_path / "project")
    for name, score in (("emotion", "dev_uar"), ("affect", "dev_ccc")):
        row = {"epoch": 1.0, "train_loss": 2.0, "dev_loss": 1.5, score: 0.25}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(one.folder)
            Curve(Path("artifacts/classifiers", name)).write([row], now=True)
        points = drawn(one)[f"results/live/classifiers-{name}.csv"]
        shown = {p["field"]: p[p["field"]] for p in points if p[p["field"]] != ""}
        assert {field: float(value) for field, value in shown.items()} == {
            "train_loss": 2.0,
            "dev_loss": 1.5,
            score: 0.25,
        }
    template = (one.folder / ".dvc/plots/curves.json").read_text("utf-8")
    assert "datum.field == 'dev_ccc' ? 'CCC on dev'" in template


def test_dvc_draws_a_training_that_runs_is_killed_and_goes_on(
    begun: Colleague, tmp_path: Path
) -> None:
    one = begun.copy(tmp_path / "project")
    one.change(LONG)
    assert drawn(one) == {}
    name = "classifiers-emotion-fbank-frozen-0.csv"
    path = one.folder / live.FOLDER / name

    def lines() -> int:
        return path.read_text().count("\n") - 1 if path.is_file() else 0

    def train_until(more: int) -> list[dict[str, str]]:
        """Run `dvc repro`, draw while it trains, and kill it; what was drawn."""
        process = subprocess.Popen(
            ["dvc", "repro"],
            cwd=one.folder,
            env=one.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started_s = time.time()

        def is_new() -> bool:
            assert process.poll() is None
            return path.is_file() and path.stat().st_mtime > started_s

        try:
            wait_until(lambda: is_new() and lines() > more)
            found = drawn(one)[f"results/live/{name}"]
            assert process.poll() is None  # it trains on, and holds DVC's lock
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return [point for point in found if point["field"] == "train_loss"]

    first = train_until(3)
    before = rows(one.folder, name)
    resumed = train_until(len(before) + 3)
    after = rows(one.folder, name)
    assert len(first) >= 3 and len(resumed) > len(before)
    assert [float(row["epoch"]) for row in after] == list(range(1, len(after) + 1))
    assert after[: len(before)] == before  # one curve, as if nothing had happened
    one.change("finetune: {methods: {frozen: {training: {learning_rate: 2e-4}}}}")
    anew = train_until(3)
    assert float(anew[0]["epoch"]) == 1
    assert rows(one.folder, name)[1]["train_loss"] != before[1]["train_loss"]
    assert "live" not in one.run("git", "status", "--porcelain")

    one.change("finetune: {methods: {frozen: {training: {epochs: 3}}}}")
    one.repro()
    assert drawn(one) == {}  # now it is a picture
    assert (one.folder / "results/plots/learning-emotion-fbank-frozen.png").is_file()
