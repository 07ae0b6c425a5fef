"""One graph of encoder and head, at any length, by onnxruntime alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.cli import export
from pipeline.encoders import layout
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from pipeline.methods.features import Features
from tests.methods.test_classifier import LARGE, saved, trained
from tests.recordings import record, tone
from tests.speech import small_encoder

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LENGTHS = (400, 5000, 16_000, 48_123)
WAVES = [np.random.default_rng(n).uniform(-0.3, 0.3, n).astype(np.float32) for n in LENGTHS]


def require_alike(folder: Path, backend: str = "onnx", atol: float = 1e-4) -> None:
    expected, found = judge.load(folder), judge.load(folder, backend=backend)
    assert found.classes == expected.classes
    for wave in WAVES:
        got = found.logits([wave])
        np.testing.assert_allclose(got, expected.logits([wave]), rtol=0, atol=atol)


@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_planes_on_an_encoder(project: Path, deviation: bool, count: int) -> None:
    encoder = small_encoder(project / "artifacts/encoders/tiny", **LARGE)
    width = 16 * (1 + deviation)
    rng = np.random.default_rng(0)
    rows = 1 if count == 2 else count
    planes = {
        "mean": rng.standard_normal(width),
        "scale": rng.uniform(0.5, 2, width),
        "weight": rng.standard_normal((rows, width)),
        "bias": rng.standard_normal(rows),
        "classes": np.arange(count),
    }
    folder = Path("m")
    folder.mkdir()
    save_file(planes, folder / "model.safetensors")
    sha256 = layout.weights_sha256(encoder)
    classes = ["a", "b", "c"][:count]
    Features(
        str(encoder.relative_to(project)),
        sha256,
        [-1],
        deviation,
        "fp32",
        "float16",
        "emotion",
        classes,
    ).write(folder)
    export.main(folder, project / "out", onnx=True)
    # The rounding to float16 may turn the other way.
    require_alike(project / "out", atol=1e-3 if deviation else 1e-4)


@pytest.mark.parametrize("method", ["full", "frozen"])
def test_weights_of_8_bits_are_close_and_smaller(project: Path, method: str) -> None:
    style = {"intermediate_size": 4096}
    encoder = small_encoder(project / "artifacts/encoders/tiny", **style)
    export.main(saved(trained(encoder, method), Path("m")), project / "out", int8=True)
    require_alike(project / "out")
    whole, small = (project / "out" / judge.ONNX[name] for name in ("onnx", "onnx-int8"))
    assert small.stat().st_size < 0.7 * whole.stat().st_size
    require_alike(project / "out", "onnx-int8", atol=0.3)


def test_predict_needs_no_torch(project: Path) -> None:
    encoder = small_encoder(project / "artifacts/encoders/tiny")
    export.main(saved(trained(encoder, "full"), Path("m")), project / "out", onnx=True)
    record(project / "a.wav", tone(1.0))
    program = (
        "import sys\nfrom pipeline.cli import main\n"
        "try: main.app(sys.argv[1:])\n"
        "except SystemExit as status: assert not status.code\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'dvc'} & set(sys.modules)))"
    )
    told = []
    (project / "far").mkdir()
    for backend in ("torch", "onnx"):
        words = ["predict", "../a.wav", "--model", "../out", "--backend", backend]
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
    assert told[0][:-1] == told[1][:-1] and len(told[0]) == 3
    assert told[1][-1] == "[]"


def test_what_is_not_there_or_damaged_is_one_line(project: Path) -> None:
    encoder = small_encoder(project / "artifacts/encoders/tiny")
    export.main(saved(trained(encoder, "full"), Path("m")), project / "out")
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
