"""What the pictures show: a dot for a single epoch, folds and speakers apart, classes as merged."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.report import anonymous, corpora_table, plots, probe_section, sections
from pipeline.scoring.evaluation import Run
from pipeline.splits.targets import Emotion
from tests.recordings import clip
from tests.report.pictures import kept, luminance, words
from tests.results import Study, plant_probe

MERGED = Emotion(target="emotion", classes=["happy", "sad"], merge={"excited": "happy"})
NAMES = ("Ada Lovelace", "Bo", "Çelik")


def curve(epochs: int) -> dict[str, np.ndarray]:
    values = np.arange(1.0, epochs + 1)
    return {
        "epoch": values,
        "train_loss": 2 / values,
        "dev_loss": 3 / values,
        "dev_uar": values / (epochs + 1),
    }


@pytest.mark.parametrize("folds", [2, 4, 12])
def test_each_fold_has_a_colour_of_its_own(folds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(monkeypatch)
    plots.learning(Path("x.png"), "x", {k: curve(5) for k in range(folds)})
    for axes in found["x.png"].axes:
        by_fold: dict[str, set[object]] = {}
        for line in axes.lines:
            fold = str(line.get_label()).split(",")[0]
            by_fold.setdefault(fold, set()).add(tuple(line.get_color()))
        assert len(by_fold) == folds
        assert all(len(colours) == 1 for colours in by_fold.values())
        assert len(set.union(*by_fold.values())) == folds


def test_a_curve_of_one_epoch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(monkeypatch)
    plots.learning(Path("one.png"), "x", {0: curve(1)})
    figure = found["one.png"]
    shown = luminance(figure)
    for axes, count in zip(figure.axes, (2, 1), strict=True):
        assert len(axes.lines) == count
        for line in axes.lines:
            x, y = axes.transData.transform(np.asarray(line.get_xydata())[0])
            rows = slice(len(shown) - round(y) - 3, len(shown) - round(y) + 3)
            assert shown[rows, round(x) - 3 : round(x) + 3].min() < 0.8


def clips() -> list[object]:
    return [
        clip(
            str(n),
            speaker=f"toy/{NAMES[n % 3]}" if n % 4 else "",
            emotion=("happy", "excited", "sad", "bored")[n % 4],
        )
        for n in range(24)
    ]


def run_of(found: list[object]) -> Run:
    settings = {"probe": {"tasks": ["emotion"], "features": ["fbank"], "layer": "last"}}
    return Run({"emotion": MERGED}, found, {}, [], {}, {}, settings)  # type: ignore[arg-type]


def test_the_map_has_classes_as_merged_and_no_names_of_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "artifacts/probes/emotion/fbank"
    folder.mkdir(parents=True)
    rows = [f"toy/{n},{n},{n % 5}" for n in range(24)]
    (folder / "places.csv").write_text("clip,x,y\n" + "\n".join(rows) + "\n")
    found = kept(monkeypatch)
    probe_section.places(run_of(clips()), tmp_path)
    told = words(found["embeddings-fbank.png"])
    assert told[:3] == ["bored", "happy", "sad"]
    assert told[-4:] == ["unknown", "speaker 1", "speaker 2", "speaker 3"]
    assert not any(name in " ".join(told) for name in NAMES)


def test_layers_are_named_alike_in_table_and_picture(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shallow encoder's top stands below the deep one's."""
    plant_probe(project, Study(), "fbank")
    folder = project / "artifacts/probes/emotion/deep"
    folder.mkdir()
    names = [*(str(-n) for n in range(13, 0, -1)), "last"]
    rows = [f"{name},{depth},0,0.5,{depth / 20}" for depth, name in enumerate(names)]
    (folder / "layers.csv").write_text("layer,depth,fold,dev_uar,test_uar\n" + "\n".join(rows))
    found = kept(monkeypatch)
    run = run_of([])
    run.settings["probe"]["features"][:] = ["fbank", "deep"]
    section = probe_section.layers(run, project)
    assert section is not None
    (axes,) = found["layers.png"].axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == names
    drawn = {
        (str(line.get_label()).split(",")[0], ticks[int(x)], round(float(y), 6))
        for line in axes.lines
        if str(line.get_label()).endswith("test")
        for x, y in np.asarray(line.get_xydata())
    }
    told = {
        (f"{row[0]}: {row[1]}", row[2], round(float(str(row[4])), 6))
        for row in section.tables[0].rows
    }
    assert drawn == told


def test_emotions_are_counted_as_merged() -> None:
    found = clips()
    assert corpora_table.rows(found, MERGED) == [  # type: ignore[arg-type]
        ("bored", "toy", 6),
        ("happy", "toy", 12),
        ("sad", "toy", 6),
    ]


def test_warnings_of_the_audit_name_no_one_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(monkeypatch)
    found = clips()
    warnings = [
        "speaker Bo: 5 utterances kept, 6 published",
        "the same audio: ada lovelace/01, Bo_02, Boat, C\u0327elik-1",
        "speaker 03: 4 utterances kept, 5 published",
    ]
    audit = {
        "found": 24,
        "kept": 24,
        "out_of_scope": {},
        "rejected": {},
        "clips": 24,
        "duration_s": 24.0,
        "counts": {"speaker": dict.fromkeys([*NAMES, "03"], 6)},
        "warnings": warnings,
    }
    run = Run({"emotion": MERGED}, found, {}, [], {}, {"toy": audit}, {})  # type: ignore[arg-type]
    assert list(sections.corpora(run, tmp_path).notes) == [
        "toy: speaker 3: 5 utterances kept, 6 published",
        "toy: the same audio: speaker 2/01, speaker 3_02, Boat, speaker 4-1",
        "toy: speaker 03: 4 utterances kept, 5 published",
    ]


def test_speakers_are_numbered_in_their_order() -> None:
    assert anonymous.numbered(["b", "", "a", "b"]) == {
        "": "unknown",
        "a": "speaker 1",
        "b": "speaker 2",
    }
