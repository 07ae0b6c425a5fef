"""What else a cluster computes beside embeddings: the same bytes as this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli import predict
from pipeline.embeddings.reader import Embeddings
from pipeline.units import nearest
from tests.clustered import clip, mixture, write_frames
from tests.params import set_runtime
from tests.recordings import record, tone
from tests.stages.test_preprocess import configure, contents, run, toy
from tests.toy import run_stages
from tests.work.cluster.conftest import add

pytestmark = pytest.mark.cluster


@pytest.fixture
def on_ray(on_cpu: Path, cluster: Any) -> Callable[[], None]:
    """What makes the engine Ray, with a node of one CPU."""
    add(cluster)
    return lambda: set_runtime(engine="ray", address=cluster.address)


def test_a_corpus_is_the_same(on_ray: Callable[[], None], on_cpu: Path) -> None:
    """Sources of one and of many rows, one that is rejected and one that is not there to decode."""
    configure(
        on_cpu,
        max_reject_fraction="0.5",
        max_clip_s="1.0",
        augment="[{kind: pitch, name: shifted, low: -2.0, high: 2.0}]",
    )
    raw = toy(on_cpu, 20)
    record(raw / "wav/0.wav", tone(2.5, rate_hz=44_100), 44_100)
    record(raw / "wav/1.wav", np.zeros(16_000, np.float32))
    (raw / "wav/2.wav").write_bytes(b"no audio")
    assert run(SER_SCRATCH="local").returncode == 0
    folder = Path("artifacts/clips/toy")
    expected = contents(folder)
    on_ray()
    done = run(SER_SCRATCH="far")
    assert done.returncode == 0, done.stderr
    assert "ray: 1 worker on 1 node after" in done.stderr
    assert contents(folder) == expected
    # What the store holds is not decoded again, by whichever engine.
    before = sorted(Path("far").rglob("*.log"))
    assert run(SER_SCRATCH="far").returncode == 0
    assert (contents(folder), sorted(Path("far").rglob("*.log"))) == (expected, before)


def test_units_are_the_same(on_ray: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK_FRAMES", 7)
    frames = {f"demo/{i}": mixture(11 + i, 5, seed=i) for i in range(5)}
    write_frames(Path("0.h5"), [clip(name[5:], "s") for name in frames], frames)
    codebooks = {k: mixture(k, 5, seed=k) for k in (3, 9)}
    on_ray()
    with Embeddings(Path("0.h5")) as embeddings:
        here = list(nearest.assign(embeddings, -3, codebooks))
        there = list(nearest.assign(embeddings, -3, codebooks, nearest.ON_RAY))
    assert len(here) > 5
    for (rows, found), (expected_rows, expected) in zip(there, here, strict=True):
        assert rows == expected_rows
        for scale, (distances, units) in expected.items():
            assert np.array_equal(found[scale][0], distances)
            assert np.array_equal(found[scale][1], units)


def test_predictions_are_the_same(
    on_ray: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a classifier that holds its encoder, and of one whose encoder is the project's."""
    run_stages()
    Path("data/raw/toy/noise.wav").write_bytes(b"no audio")
    for folder in ("pretrained/full/0", "tiny/frozen/0"):
        model = f"artifacts/classifiers/emotion/{folder}"
        set_runtime(engine="processes")
        capfd.readouterr()
        with pytest.raises(SystemExit):
            predict.main([Path("data/raw/toy")], model, as_json=True)
        here = capfd.readouterr()
        on_ray()
        with pytest.raises(SystemExit):
            predict.main([Path("data/raw/toy")], model, as_json=True)
        there = capfd.readouterr()
        assert here.out.count("\n") == 36
        assert there.out == here.out
        assert "noise.wav" in here.err
        told = [line for line in there.err.splitlines() if not line.startswith("ray: ")]
        assert told == here.err.splitlines()
