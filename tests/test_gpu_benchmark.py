"""`make gpu` on the CPU, and the page that it makes."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_bench import gflop_per_s
from benchmarks.gpu_table import PAGE, RESULTS, Row, page
from pipeline.audio.flac import write_flac
from pipeline.encoders import encoder
from tests.conftest import ROOT

ROW = Row("extract", "base fp16", 15_000.0, "s/s", of_card=0.25, aim_of_card=0.25, idle=0.1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of something like speech: noise in syllables."""
    folder, rng = tmp_path_factory.mktemp("recorded"), np.random.default_rng(0)
    syllables = np.abs(np.sin(np.arange(48_000) * 2 * np.pi * 3 / 16_000))
    for n in range(10):
        noise = rng.standard_normal(48_000)
        write_flac(folder / f"{n}.flac", (0.1 * syllables * noise).astype(np.float32))
    return folder


@pytest.mark.skipif(torch.cuda.is_available(), reason="what it does without a GPU")
def test_without_a_card_it_measures_what_needs_none_and_names_the_rest(
    recorded: Path, tmp_path: Path
) -> None:
    given = [str(recorded), "--budget", "1", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *given],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for part in ("extract", "train", "share", "finetune"):
        assert f"{part}: needs a card" in done.stdout
    for part in ("correctness", "kmeans"):
        assert f"| {part}: " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_head_of_each_part_that_a_cpu_bears(recorded: Path, tmp_path: Path) -> None:
    small = gpu.bench(torch.device("cpu"), recorded, tmp_path)
    rows = list(gpu.measured(small, ["correctness", "extract", "train"], 0.0))
    assert [row.part for row in rows] == ["correctness", "extract", "train"]
    assert rows[0].value <= 1e-5
    assert all(row.value > 0 for row in rows[1:])
    assert all(0 < (row.of_card or 0) < 2 for row in rows[1:])


def test_what_a_part_raises_ends_that_part_alone(
    tmp_path: Path,
    recorded: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(_: object) -> object:
        yield ROW
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(gpu, "PARTS", {"extract": full, "train": lambda _: iter([ROW])})
    small = gpu.bench(torch.device("cpu"), recorded, tmp_path)
    assert list(gpu.measured(small, ["extract", "train"], 60.0)) == [ROW, ROW]
    assert "extract: not finished, out of memory" in capsys.readouterr().err


def test_the_work_of_a_forward_pass_is_that_of_its_products() -> None:
    config = encoder.skeleton({"model_type": "hubert"}).config
    assert gflop_per_s(config, 10) == pytest.approx(12.5, rel=0.01)
    # A block: four projections and two layers of the feed-forward network, 50 frames a second.
    block = 2 * 50 * (4 * 768**2 + 2 * 768 * 3072) / 1e9
    assert gflop_per_s(config, 12) - gflop_per_s(config, 10) == pytest.approx(2 * block)


def test_the_page_shows_what_was_kept_and_nothing_else(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    assert "No whole run is kept" in page(text, tmp_path)
    kept = {"card": "NVIDIA X", "torch": "2", "budget_s": 420.0, "tflops": {"fp16": 792.4}}
    (tmp_path / "gpu-x.json").write_text(json.dumps({**kept, "rows": [asdict(ROW)]}))
    made = page(text, tmp_path)
    row = "| extract: base fp16 | 1.5e+04 s/s |  | 25% (aim 25%) | 10% |  |  |  |"
    assert row in made
    assert "NVIDIA X, torch 2, 420 s. Products of 8192^3 in TFLOP/s: 792 in fp16." in made
    assert "No card was measured" not in made
    assert page(made, tmp_path) == made


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text, RESULTS) == text
