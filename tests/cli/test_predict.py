"""`ser predict`: what the stages predicted, from the files that their authors shipped."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from scipy.special import softmax
from typer.testing import CliRunner

from pipeline.cli import predict
from pipeline.ground.errors import PipelineError
from tests.toy import TRAINED, run_stages

CLASSES = ["angry", "sad", "happy"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    shutil.copy(Path(__file__).parents[2] / "params.yaml", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SER_SCRATCH", str(root / ".scratch"))
        run_stages()
    return root


@pytest.fixture
def toy(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def folder_of(start: str, method: str) -> Path:
    return Path("artifacts/classifiers") / start / method / "0"


@pytest.mark.parametrize(("start", "method"), TRAINED)
def test_it_tells_what_the_stage_predicted(
    toy: Path, start: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(start, method)
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = [Path("data/raw/toy") / f"{row['utterance'].split('/')[1]}.wav" for row in rows]
    predict.main(files, folder, as_json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [found["file"] for found in told] == [str(file) for file in files]
    assert max(len(found["clips"]) for found in told) == 3
    for found, row in zip(told, rows, strict=True):
        expected = softmax([float(row[name]) for name in CLASSES])
        got = [found["probabilities"][name] for name in CLASSES]
        np.testing.assert_allclose(got, expected, atol=2e-5)
        assert found["emotion"] == CLASSES[int(expected.argmax())]


def test_a_damaged_file_is_one_line_and_the_rest_goes_on(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate = soundfile.read("data/raw/toy/02.wav")
    soundfile.write(tmp_path / "a.flac", samples, rate)
    soundfile.write(tmp_path / "b.aiff", samples, rate)
    (tmp_path / "c.wav").write_bytes((toy / "data/raw/toy/02.wav").read_bytes()[:2000])
    soundfile.write(tmp_path / "d.ogg", samples, rate)
    (tmp_path / "notes.txt").write_text("not audio")
    with pytest.raises(SystemExit) as exit_status:
        predict.main([tmp_path], folder_of("pretrained", "full"))
    assert exit_status.value.code == 1
    out, err = capsys.readouterr()
    header, *rows = (line.split("\t") for line in out.splitlines())
    assert header == ["file", "start_s", "end_s", "emotion", *CLASSES]
    assert [Path(row[0]).name for row in rows if row[0]] == ["a.flac", "b.aiff", "d.ogg"]
    assert err.startswith(f"{tmp_path}/c.wav: truncated")
    assert len(err.splitlines()) == 1


def test_segments_cover_a_long_file(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = max(Path("data/raw/toy").glob("*.wav"), key=lambda path: path.stat().st_size)
    predict.main([file], folder_of("tiny", "frozen"), segment_s=0.6, as_json=True)
    found = json.loads(capsys.readouterr().out)
    starts = [clip["start_s"] for clip in found["clips"]]
    ends = [clip["end_s"] for clip in found["clips"]]
    assert len(starts) > 1
    assert starts[0] == found["start_s"]
    assert starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(found["end_s"], abs=0.025)
    for clip in (found, *found["clips"]):
        assert sum(clip["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("places", "folder", "message"),
    [
        (["missing.wav"], ("pretrained", "full"), "missing.wav: no such file or folder"),
        (["artifacts/clips/toy/audio"], ("pretrained", "none"), "expected the folder of a class"),
        (["artifacts/encoders"], ("pretrained", "full"), "no audio file below it"),
    ],
)
def test_what_is_not_there_is_one_line(
    toy: Path, places: list[str], folder: tuple[str, str], message: str
) -> None:
    with pytest.raises(PipelineError, match=message):
        predict.main([Path(place) for place in places], folder_of(*folder))


def test_another_encoder_is_refused(toy: Path, tmp_path: Path) -> None:
    folder: Any = shutil.copytree(folder_of("tiny", "frozen"), tmp_path / "copy")
    (folder / "SHA256SUMS").unlink()
    text = (folder / "features.json").read_text()
    (folder / "features.json").write_text(
        text.replace('"weights_sha256": "', '"weights_sha256": "0')
    )
    with pytest.raises(PipelineError, match="belongs to another encoder"):
        predict.main([Path("data/raw/toy/00.wav")], folder)


def test_the_command_needs_a_classifier_alone(toy: Path) -> None:
    words = [str(toy / "data/raw/toy/02.wav"), "--classifier", str(folder_of("pretrained", "full"))]
    app = typer.Typer()
    app.command()(predict.main)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) >= 2
