"""`ser predict`: what the stages predicted, from the files that their authors shipped."""

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from scipy.special import softmax
from typer.testing import CliRunner

from pipeline.cli import export, predict
from pipeline.cli.preset import merged
from pipeline.ground import params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.inference import answers
from pipeline.inference.judge import Judge
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
    return Path("artifacts/classifiers/emotion") / start / method / "0"


def model_of(start: str, method: str) -> str:
    return str(folder_of(start, method))


@pytest.mark.parametrize(("start", "method"), TRAINED)
def test_it_tells_what_the_stage_predicted(
    toy: Path, start: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    require_predictions_of_the_stage(folder_of(start, method), capsys)
    assert capsys.readouterr().err == ""


def require_predictions_of_the_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What lies in ``predictions.csv``, told of the recordings as their authors shipped them."""
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = [Path("data/raw/toy") / f"{row['utterance'].split('/')[1]}.wav" for row in rows]
    predict.main(files, str(folder), as_json=True)
    temperature = json.loads((folder / "calibration.json").read_text())["temperature"]
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    assert [found["file"] for found in told] == [str(file) for file in files]
    assert max(len(found["clips"]) for found in told) == 3
    for found, row in zip(told, rows, strict=True):
        expected = softmax(np.array([float(row[name]) for name in CLASSES]) / temperature)
        got = [found["probabilities"][name] for name in CLASSES]
        np.testing.assert_allclose(got, expected, atol=2e-5)
        assert found["emotion"] == CLASSES[int(expected.argmax())]
    sys.stderr.write(err)


def told_of(
    folder: Path, capsys: pytest.CaptureFixture[str], **options: Any
) -> tuple[list[dict[str, Any]], str]:
    files = sorted(Path("data/raw/toy").glob("*.wav"))
    predict.main(files, str(folder), as_json=True, **options)
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


@pytest.mark.parametrize(("start", "method"), [("pretrained", "full"), ("fbank", "linear")])
def test_some_classes_share_the_probability(
    toy: Path, start: str, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bayes: each one's probability, given that it is one of those asked for."""
    folder = folder_of(start, method)
    everything, _ = told_of(folder, capsys)
    some, _ = told_of(folder, capsys, classes="happy,angry")
    for one, found in zip(everything, some, strict=True):
        both = {name: one["probabilities"][name] for name in ("happy", "angry")}
        expected = {name: value / sum(both.values()) for name, value in both.items()}
        assert found["probabilities"] == pytest.approx(expected, rel=1e-4)
        assert found["emotion"] == max(expected, key=expected.__getitem__)


@pytest.mark.parametrize("asked", ["angry", "angry,angry", "angry,joy", "angry,", ","])
def test_classes_it_does_not_know_are_one_line(toy: Path, asked: str) -> None:
    with pytest.raises(PipelineError, match=r"--classes: expected two or more of angry,sad,happy"):
        predict.main([Path("data/raw/toy/00.wav")], model_of("fbank", "linear"), classes=asked)


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_not_sure_enough_is_unsure(
    toy: Path, tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The confidence is that of the most answers which were right so often on dev."""
    folder = shutil.copytree(folder_of("fbank", "linear"), tmp_path / "0")
    (folder / "SHA256SUMS").unlink()
    everything, _ = told_of(folder, capsys)
    surest = sorted(max(one["probabilities"].values()) for one in everything)
    middle = (surest[17] + surest[18]) / 2
    covers = [(1.0, 0.0, 0.5), (0.4, middle, 0.8), (0.2, 0.9999, 0.7)]
    names = ("coverage", "confidence", "accuracy")
    found = {"temperature": 1.0, "utterances": 5}
    made = json.loads((folder / "calibration.json").read_text())
    found["temperature"] = made["temperature"]
    found["covers"] = [dict(zip(names, cover, strict=True)) for cover in covers]  # type: ignore[assignment]
    (folder / "calibration.json").write_text(json.dumps(found))
    files = sorted(Path("data/raw/toy").glob("*.wav"))
    predict.main(files, str(folder), as_json=as_json, sure=0.75)
    out, err = capsys.readouterr()
    assert f"unsure below {middle:.3f}; on dev 40% of the answers are not, and 80%" in err
    if as_json:
        told = [json.loads(line)["emotion"] for line in out.splitlines()]
    else:
        told = [line.split("\t")[3] for line in out.splitlines()[1:] if line[0] != "\t"]
    for answer, one in zip(told, everything, strict=True):
        unsure = max(one["probabilities"].values()) < middle
        assert answer == ("unsure" if unsure else one["emotion"])
    assert told.count("unsure") == 18


def test_what_cannot_be_asked_is_one_line(toy: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder_of("fbank", "linear"), tmp_path / "0")
    (folder / "SHA256SUMS").unlink()
    one = [Path("data/raw/toy/00.wav")]
    with pytest.raises(PipelineError, match=r"--sure: .* without --classes"):
        predict.main(one, str(folder), classes="angry,sad", sure=0.5)
    covers = [{"coverage": 1.0, "confidence": 0.1, "accuracy": 0.5}]
    text = json.dumps({"temperature": 1.0, "utterances": 5, "covers": covers})
    (folder / "calibration.json").write_text(text)
    with pytest.raises(PipelineError, match=r"--sure 0\.9: on dev at most 0\.5 of the answers"):
        predict.main(one, str(folder), sure=0.9)
    (folder / "calibration.json").unlink()
    with pytest.raises(PipelineError, match=r"0: --sure needs a dev"):
        predict.main(one, str(folder), sure=0.9)


@pytest.mark.parametrize("asked", [{"classes": "arousal,valence"}, {"sure": 0.5}])
def test_dimensions_have_no_classes_to_choose_from(tmp_path: Path, asked: dict[str, Any]) -> None:
    values = Judge("dimensions", ["arousal", "valence"], lambda waves: np.zeros((len(waves), 2)))  # type: ignore[arg-type, return-value]
    with pytest.raises(
        PipelineError, match="tells dimensions, run it without --classes and --sure"
    ):
        answers.asked(tmp_path, values, asked.get("classes", ""), asked.get("sure"))
    assert answers.asked(tmp_path, values, "", None) == (values, 0.0, [])


def test_without_dev_it_says_uncalibrated(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(folder_of("fbank", "linear"), tmp_path / "0")
    (folder / "SHA256SUMS").unlink()
    (folder / "calibration.json").unlink()
    found, err = told_of(folder, capsys)
    assert err.splitlines() == [
        f"{folder}: uncalibrated, it had no dev to learn its confidence from"
    ]
    with (folder / "predictions.csv").open() as file:
        rows = {row["utterance"].split("/")[1]: row for row in csv.DictReader(file)}
    told = {Path(one["file"]).stem: one["probabilities"] for one in found}
    for name, row in rows.items():
        expected = softmax([float(row[c]) for c in CLASSES])
        np.testing.assert_allclose([told[name][c] for c in CLASSES], expected, atol=2e-5)


@pytest.mark.parametrize(("start", "method"), TRAINED)
def test_an_exported_model_says_the_same_far_from_its_project(
    toy: Path,
    start: str,
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No params.yaml, none of the project's artefacts, no name of its folders."""
    with (folder_of(start, method) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))[:4]
    files = [toy / "data/raw/toy" / f"{row['utterance'].split('/')[1]}.wav" for row in rows]
    export.main(folder_of(start, method), tmp_path / "model")
    for path in (tmp_path / "model").rglob("*.json"):
        assert str(toy) not in path.read_text("utf-8") and "artifacts" not in path.read_text()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    params.read.cache_clear()
    capsys.readouterr()
    predict.main(files, "../model", as_json=True, threads=1)
    told = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    scale = json.loads((toy / folder_of(start, method) / "calibration.json").read_text("utf-8"))
    for found, row in zip(told, rows, strict=True):
        expected = softmax([float(row[name]) / scale["temperature"] for name in CLASSES])
        np.testing.assert_allclose([found[name] for name in CLASSES], expected, atol=2e-5)
    shutil.copy(files[0], tmp_path / "model/speech.wav")
    monkeypatch.chdir(tmp_path / "model")
    card = Path("README.md").read_text("utf-8")
    exec(card.split("```python\n")[1].split("```")[0], {})  # noqa: S102 - as a reader pastes it
    pasted = dict(map(str.split, capsys.readouterr().out.splitlines()))
    assert {name: float(value) for name, value in pasted.items()} == pytest.approx(
        told[0], abs=0.002
    )
    monkeypatch.chdir(tmp_path / "empty")
    held = json.loads((tmp_path / "model/model.json").read_text("utf-8"))
    assert (held["method"], held["corpora"]) == (method, [{"corpus": "toy", "licence": "yours"}])
    damaged = next((tmp_path / "model").rglob("*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(PipelineError, match=f"{damaged.name}: damaged or edited"):
        predict.main(files, "../model")


@pytest.fixture
def settings(toy: Path) -> Iterator[Callable[[str], None]]:
    """Changes ``params.yaml`` for one test."""
    path = toy / "params.yaml"
    before = path.read_text("utf-8")

    def change(overlay: str) -> None:
        path.write_text(merged(before, overlay), "utf-8")
        params.read.cache_clear()

    yield change
    path.write_text(before, "utf-8")
    params.read.cache_clear()


@pytest.mark.parametrize(("start", "method"), TRAINED)
def test_a_classifier_cuts_as_its_own_clips_were_cut(
    toy: Path,
    settings: Callable[[str], None],
    start: str,
    method: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings("preprocess: {trim_db: null, max_clip_s: 20.0, last_clip: overlapped}")
    require_predictions_of_the_stage(folder_of(start, method), capsys)
    lines = capsys.readouterr().err.splitlines()
    told = [
        line.removeprefix(f"{folder_of(start, method)}: made with preprocess.") for line in lines
    ]
    assert told == [
        "max_clip_s 0.5, which is used; params.yaml has 20.0",
        "last_clip shorter, which is used; params.yaml has overlapped",
        "trim_db 40.0, which is used; params.yaml has none",
    ]


def test_a_classifier_without_its_cutting_follows_params_and_says_so(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = shutil.copytree(folder_of("fbank", "linear"), tmp_path / "0")
    (earlier / "SHA256SUMS").unlink()
    (earlier / "preprocess.json").unlink()
    require_predictions_of_the_stage(earlier, capsys)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{earlier}: no preprocess.json, files are cut as params.yaml has it (")
    assert "max_clip_s 0.5, last_clip shorter, trim_db 40.0" in line
    (earlier / "preprocess.json").write_text('{"max_clip_s": "long"}')
    with pytest.raises(PipelineError, match=r"preprocess\.json: damaged"):
        predict.main([Path("data/raw/toy/00.wav")], str(earlier))


def test_a_folder_from_a_mac(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hidden files and companions are none of its recordings; what cannot be read has a line."""
    good = (toy / "data/raw/toy/02.wav").read_bytes()
    names = ["a.wav", "sub/b.WAV", "._a.wav", ".Trash/old.wav", "__MACOSX/a.wav", ".c.wav"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(good if "._" not in name else b"Mac OS X" * 20)
    (tmp_path / "memo.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(200))
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "odd\t.wav").write_bytes(good)
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"Bud1")
    (tmp_path / "cover.jpg").write_bytes(b"JFIF")
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SystemExit) as exit_status:
        predict.main([tmp_path], model_of("fbank", "linear"))
    assert exit_status.value.code == 1
    out, err = capsys.readouterr()
    assert [row.split("\t")[0] for row in out.splitlines()[1:] if row[0] != "\t"] == [
        f"{tmp_path}/a.wav",
        f"{tmp_path}/odd\\t.wav",
        f"{tmp_path}/sub/b.WAV",
    ]
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        f"{tmp_path}/{name}" for name in ("gone.wav", "memo.m4a", "pipe.wav")
    ]
    assert "convert it to WAV" in err and "a FIFO" in err and "a link to nothing" in err


def test_a_name_that_is_not_utf8_is_told(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(toy / "data/raw/toy/02.wav", tmp_path / "odd\udcff.wav")
    with contextlib.suppress(SystemExit):
        predict.main([tmp_path], model_of("fbank", "linear"))
    told = "".join(capsys.readouterr())
    assert told.count(f"{tmp_path}/odd\\udcff.wav") == 1


def test_what_is_hidden_is_judged_where_it_is_named(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".one.wav", ".hidden/two.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(toy / "data/raw/toy/02.wav", tmp_path / name)
    predict.main([tmp_path / ".hidden", tmp_path / ".one.wav"], model_of("fbank", "linear"))
    rows = [row for row in capsys.readouterr().out.splitlines()[1:] if row[0] != "\t"]
    assert [Path(row.split("\t")[0]).name for row in rows] == ["two.wav", ".one.wav"]


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
        predict.main([tmp_path], model_of("pretrained", "full"))
    assert exit_status.value.code == 1
    out, err = capsys.readouterr()
    header, *rows = (line.split("\t") for line in out.splitlines())
    assert header == ["file", "start_s", "end_s", "emotion", *CLASSES]
    assert [Path(row[0]).name for row in rows if row[0]] == ["a.flac", "b.aiff", "d.ogg"]
    assert err.startswith(f"{tmp_path}/c.wav: truncated")
    assert len(err.splitlines()) == 1


def test_segments_cover_a_long_file(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = max(Path("data/raw/toy").glob("*.wav"), key=lambda path: path.stat().st_size)
    predict.main([file], model_of("tiny", "frozen"), segment_s=0.6, as_json=True)
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
        predict.main([Path(place) for place in places], model_of(*folder))


def test_another_encoder_is_refused(toy: Path, tmp_path: Path) -> None:
    folder: Any = shutil.copytree(folder_of("tiny", "frozen"), tmp_path / "copy")
    (folder / "SHA256SUMS").unlink()
    text = (folder / "features.json").read_text()
    (folder / "features.json").write_text(
        text.replace('"weights_sha256": "', '"weights_sha256": "0')
    )
    with pytest.raises(PipelineError, match="belongs to another encoder"):
        predict.main([Path("data/raw/toy/00.wav")], str(folder))


def test_the_command_needs_a_classifier_alone(toy: Path) -> None:
    words = [str(toy / "data/raw/toy/02.wav"), "--classifier", str(folder_of("pretrained", "full"))]
    app = typer.Typer()
    app.command()(predict.main)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) >= 2


def ser(place: Path, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "pipeline.cli.main", "predict", *words, "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=place, env=environment, input=given, capture_output=True, check=False
    )


def test_a_pipe_is_a_file_or_a_stream(
    toy: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    export.main(folder_of("fbank", "linear"), tmp_path / "model")
    capfdbinary.readouterr()
    recording = toy / "data/raw/toy/02.wav"
    words = ["--model", "model", "--format", "csv"]
    predict.main([recording], str(tmp_path / "model"), form="csv", threads=1)
    by_name = capfdbinary.readouterr().out
    piped = ser(tmp_path, "-", *words, given=recording.read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == by_name.replace(bytes(recording), b"-")

    samples = (3000 * np.random.default_rng(0).standard_normal(8000 * 3)).astype("<i2")
    streamed = ser(tmp_path, "-", *words, "--stream", "8000", given=samples.tobytes())
    header, *rows = list(csv.reader(streamed.stdout.decode().splitlines()))
    assert streamed.returncode == 0, streamed.stderr
    assert [row[:3] for row in rows] == [
        ["-", f"{max(0.0, end - 0.5):.3f}", f"{end:.3f}"] for end in (1.0, 2.0, 3.0)
    ]
    assert header[:5] == ["file", "start_s", "end_s", "speaker", "emotion"]


def test_a_document_for_each_recording(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = [Path("data/raw/toy/02.wav"), Path("data/raw/toy/03.wav")]
    model = model_of("fbank", "linear")
    with pytest.raises(PipelineError, match="2 recordings make as many documents, name a folder"):
        predict.main(recordings, model, form="textgrid")
    predict.main(recordings, model, form="textgrid", out=tmp_path / "made", segments="fixed")
    names = {"02.wav.TextGrid", "03.wav.TextGrid"}
    assert {path.name for path in (tmp_path / "made").iterdir()} == names
    predict.main(recordings[:1], model, form="textgrid", segments="fixed")
    held = (tmp_path / "made/02.wav.TextGrid").read_text("utf-8")
    assert capsys.readouterr().out == held and held.startswith('File type = "ooTextFile"')
    shutil.copytree("data/raw/toy", tmp_path / "again")
    twins = [*recordings, tmp_path / "again/02.wav"]
    with pytest.raises(PipelineError, match=r"02\.wav\.TextGrid: would be of data/raw/toy/02\.wav"):
        predict.main(twins, model, form="textgrid", out=tmp_path / "twins")
    assert not (tmp_path / "twins").exists()


def test_options_that_mean_nothing_together_are_one_line(toy: Path) -> None:
    recording, model = Path("data/raw/toy/02.wav"), model_of("fbank", "linear")
    with pytest.raises(PipelineError, match="a stream has no end, expected table, json or csv"):
        predict.main([Path("-")], model, form="elan", stream_hz=8000)
    with pytest.raises(PipelineError, match="--stream: reads standard input, expected - in place"):
        predict.main([recording], model, stream_hz=8000)
    told: list[dict[str, Any]] = [{"segments": "vad"}, {"smooth_s": 2.0}, {"out": Path("o")}]
    for more in told:
        with pytest.raises(PipelineError, match="--stream: has no --segments, --smooth-s and --o"):
            predict.main([Path("-")], model, stream_hz=8000, **more)
    with pytest.raises(PipelineError, match="--hop-s: of windows, add --segments fixed"):
        predict.main([recording], model, hop_s=0.5)
    with pytest.raises(PipelineError, match=r"vat: no such file, expected fixed, vad or a file"):
        predict.main([recording], model, segments="vat")
