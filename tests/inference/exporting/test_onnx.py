"""One graph of encoder and head, at any length, by onnxruntime alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
import pytest
import soundfile
import soxr

from pipeline.audio.flac import as_stored
from pipeline.audio.formats import Samples
from pipeline.cli import export
from pipeline.demo import examples
from pipeline.encoders import encoder, frontends
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from pipeline.methods.emotion_head import Design
from pipeline.methods.finetuning import Network
from tests.inference.exporting import models
from tests.methods.test_classifier import saved, trained
from tests.recordings import record, tone
from tests.speech import small_encoder

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LENGTHS_S = (0.025, 0.3, 1.0001, 3.777, 20.0)  # of one frame, of whole ones, and of others


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> list[Samples]:
    """Of a voice that says its vowels again and again, as clips are stored."""
    folder = tmp_path_factory.mktemp("voices")
    examples.write(folder)
    voice, rate_hz = soundfile.read(sorted(folder.iterdir())[0], dtype="float32")
    said = np.tile(as_stored(soxr.resample(voice, rate_hz, 16_000)), 20)
    return [said[4000 : 4000 + round(16_000 * length_s)] for length_s in LENGTHS_S]


def require_alike(
    folder: Path, waves: Sequence[Samples], backend: str = "onnx", atol: float = 1e-4
) -> None:
    expected, found = judge.load(folder, "cpu"), judge.load(folder, backend=backend)
    assert (found.target, found.classes) == (expected.target, expected.classes)
    for wave in waves:
        got = found.logits([wave])
        np.testing.assert_allclose(got, expected.logits([wave]), rtol=1e-4, atol=atol)


@pytest.mark.parametrize("name", models.EXPORTED)
def test_a_graph_says_what_the_classifier_says(
    project: Path, waves: list[Samples], name: str
) -> None:
    folder = models.EXPORTED[name]()
    export.main(folder, project / "out", onnx=True, int8=True)
    require_alike(project / "out", waves)
    require_alike(project / "out", waves, "onnx-int8", atol=0.3)


def test_the_page_tells_of_every_method_and_encoder() -> None:
    text = (ROOT / "docs/predict.md").read_text("utf-8")
    table = text.split("| ONNX of 8 bits |\n")[1].split("\n\n")[0].splitlines()[1:]
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table]
    told = {row[0] for row in rows if row[1:] == ["yes"] * 3}
    trained = get_args(Design.model_fields["method"].annotation)
    assert told == {*trained, "linear", "crnn", *get_args(Network)}
    assert told == {name.split(",")[0] for name in models.EXPORTED}
    assert [row[0] for row in rows if row[0] not in told] == ["an ensemble"]
    families = {"hubert": "HuBERT", "wav2vec2": "wav2vec 2.0", "wavlm": "WavLM"}
    families |= {"data2vec-audio": "data2vec", "whisper": "Whisper"}
    assert families.keys() == encoder.MODELS.keys()
    assert frontends.FRONTENDS.keys() == {"fbank", "mfcc", "opensmile"}
    assert all(name in text for name in [*families.values(), "`fbank`", "`mfcc`", "openSMILE"])


@pytest.mark.parametrize("name", models.REFUSED)
def test_what_has_no_graph_is_one_line(
    project: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", FakeSmile())
    make, told = models.REFUSED[name]
    with pytest.raises(PipelineError, match=told):
        export.main(make(), project / "out", onnx=True)
    assert not (project / "out").exists()


class FakeSmile:
    """openSMILE, whose licence keeps it from most machines, as far as `judge.load` needs it."""

    FeatureSet: ClassVar = {"eGeMAPSv02": 88}

    class Smile:
        def __init__(self, width: int) -> None:
            self.width = width

        def process_signal(self, samples: Samples, _: int) -> "FakeSmile.Smile":
            self.heard = samples
            return self

        def to_numpy(self, dtype: type) -> np.ndarray:
            return np.full((1, self.width), self.heard.std(), dtype)


def test_a_clip_that_a_graph_does_not_take_is_one_line(project: Path) -> None:
    export.main(models.EXPORTED["frozen, pool, whisper"](), project / "out", onnx=True)
    with pytest.raises(
        PipelineError, match=r"model\.onnx: expected clips of 0\.025 to 30 s, got 31"
    ):
        judge.load(project / "out", backend="onnx").logits([np.zeros(31 * 16_000, np.float32)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are most of it, with both graphs; not to be changed."""
    root = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        tiny = small_encoder(root / "artifacts/encoders/tiny", intermediate_size=4096)
        export.main(saved(trained(tiny, "full"), Path("m")), root / "out", int8=True)
    return root / "out"


def test_weights_of_8_bits_are_close_and_smaller(exported: Path, waves: list[Samples]) -> None:
    require_alike(exported, waves)
    whole, small = (exported / judge.ONNX[name] for name in ("onnx", "onnx-int8"))
    assert small.stat().st_size < 0.7 * whole.stat().st_size
    require_alike(exported, waves, "onnx-int8", atol=0.3)


def test_predict_needs_no_torch(project: Path, exported: Path) -> None:
    record(project / "a.wav", tone(1.0))
    program = (
        "import os, sys\nfrom pipeline.cli import main\n"
        "try: main.app(sys.argv[1:])\n"
        "except SystemExit as status: assert not status.code\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'dvc'} & set(sys.modules)))\n"
        "print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    told = []
    (project / "far").mkdir()
    for backend in ("torch", "onnx"):
        words = ["predict", "../a.wav", "--model", str(exported), "--backend", backend]
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--threads", "1"],
            cwd=project / "far",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.splitlines())
    assert told[0][:-2] == told[1][:-2] and len(told[0]) == 4
    assert told[1][-2] == "[]"
    assert told[0][-1] == "64"  # not oneDNN's own 1,024 shapes


def test_what_is_not_there_or_damaged_is_one_line(project: Path) -> None:
    tiny = small_encoder(project / "artifacts/encoders/tiny")
    export.main(saved(trained(tiny, "full"), Path("m")), project / "out")
    with pytest.raises(PipelineError, match=r"out: no model\.onnx, export the model again"):
        judge.load(project / "out", backend="onnx")
    with pytest.raises(PipelineError, match=r"m: no model\.json, expected a model"):
        judge.load(Path("m"), backend="onnx")
    (project / "out/model.onnx").write_bytes(b"no graph")
    with pytest.raises(PipelineError, match=r"model\.onnx: damaged or edited"):
        judge.load(project / "out", backend="onnx")
    (project / "out/SHA256SUMS").unlink()
    with pytest.raises(PipelineError, match="out: damaged or not written by this version"):
        judge.load(project / "out", backend="onnx")
