import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from pipeline.embeddings.reader import Floats
from pipeline.ground.errors import PipelineError
from pipeline.units import nearest, sampling
from pipeline.units.codebooks import Units, read_codebooks
from stages.cluster import main
from tests.clustered import brute_force, clip, mixture, write_fold
from tests.conftest import ROOT

OUT = Path("artifacts/units/0")
CLIPS = [
    clip(f"{speaker}-{i}", speaker, "female" if speaker in "ab" else "male", emotion)
    for speaker in "abcd"
    for i, emotion in enumerate(["angry", "sad"] * 4)
]
ROLES = {c.clip: {"a": "train", "b": "train", "c": "dev", "d": "test"}[c.speaker] for c in CLIPS}


def set_cluster(project: Path, **values: object) -> None:
    """Give the ``cluster`` section of params.yaml these values, in YAML's flow style."""
    text = (project / "params.yaml").read_text("utf-8")
    for key, value in values.items():
        start = text.index(f"\n  {key}:", text.index("\ncluster:"))
        end = start + 1 + text[start + 1 :].index("\n")
        while text[end + 1 :].startswith("  - "):
            end = text.index("\n", end + 1)
        text = f"{text[:start]}\n  {key}: {json.dumps(value)}{text[end:]}"
    (project / "params.yaml").write_text(text, "utf-8")


def frames(dev_shift: float = 0.0) -> dict[str, Floats]:
    """About 200 frames a clip; those of dev may lie elsewhere."""
    made = {c.clip: mixture(200 + i, 30, seed=i) for i, c in enumerate(CLIPS)}
    return {k: v + np.float32(dev_shift) * (ROLES[k] == "dev") for k, v in made.items()}


@pytest.fixture
def fold(project: Path) -> Path:
    set_cluster(project, scales=[8, 32], sample=2000, iterations=8)
    write_fold(CLIPS, ROLES, frames())
    return project


def digests() -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in OUT.iterdir()}


def test_every_train_and_dev_frame_gets_its_nearest_centroid(fold: Path) -> None:
    main(fold=0)
    codebooks = read_codebooks(OUT / "codebooks.safetensors")
    assert {k: c.shape for k, c in codebooks.items()} == {8: (8, 12), 32: (32, 12)}
    with Units(OUT / "units.h5") as units:
        assert units.clips == sorted(c for c, role in ROLES.items() if role != "test")
        for name in units.clips:
            truth = [brute_force(frames()[name], c).argmin(1) for c in codebooks.values()]
            assert np.array_equal(units.units(name), truth)


def test_the_way_of_a_gpu_gives_every_frame_its_nearest_centroid(
    fold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run on the CPU by another name, but for the product that is faiss's on a GPU."""
    monkeypatch.setattr(nearest, "pick_device", lambda _: "cpu:0")
    monkeypatch.setattr(nearest, "_pairwise", lambda a, b: torch.cdist(a, b).square())
    main(fold=0)
    first = digests()
    codebooks = read_codebooks(OUT / "codebooks.safetensors")
    with Units(OUT / "units.h5") as units:
        for name in units.clips:
            truth = [brute_force(frames()[name], c).argmin(1) for c in codebooks.values()]
            assert np.array_equal(units.units(name), truth)
    main(fold=0)
    assert digests() == first


def test_a_sample_that_a_gpu_does_not_hold_is_one_line(
    fold: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(nearest, "pick_device", lambda _: "cpu:0")
    monkeypatch.setattr(sampling, "draw_on", full)
    with pytest.raises(PipelineError, match=r"cluster\.sample takes more memory than cpu:0 has"):
        main(fold=0)
    assert not OUT.exists()


def test_the_report_is_that_of_a_count_by_hand(fold: Path) -> None:
    main(fold=0)
    report = json.loads((OUT / "report.json").read_text())
    codebooks = read_codebooks(OUT / "codebooks.safetensors")
    for role, names in (("train", "ab"), ("dev", "c")):
        own = np.concatenate([frames()[c.clip] for c in CLIPS if c.speaker in names])
        distances = brute_force(own, codebooks[32])
        sizes = np.bincount(distances.argmin(1), minlength=32)
        found = report["32"][role]
        assert found["frames"] == len(own)
        assert found["inertia"] == pytest.approx(distances.min(1).mean(), rel=1e-4)
        assert (found["smallest"], found["largest"]) == (sizes.min(), sizes.max())
        assert found["utilisation"] == (sizes > 0).mean()
    assert report["32"]["train"]["gender"] is None
    assert report["32"]["train"]["speaker"]["chance"] == pytest.approx(0.5, abs=0.02)


def test_phones_of_an_alignment_are_compared_with_units(fold: Path) -> None:
    main(fold=0)
    report = json.loads((OUT / "report.json").read_text())
    assert report["32"]["train"]["phone"] is None
    codebooks = read_codebooks(OUT / "codebooks.safetensors")
    # The first 0.5 s of every training clip are a vowel, then 1 s of a nasal, then nothing.
    names = sorted(c for c, role in ROLES.items() if role == "train")
    lines = [f"{n},0,0.5,vowel\n{n},0.5,1.5,nasal\n" for n in names]
    text = "clip,start_s,end_s,class\n" + "".join(lines)
    Path("artifacts/clips/demo/phones.csv").write_text(text)
    main(fold=0)
    centres_s = (np.arange(75) * 320 + 200) / 16000
    own = np.concatenate([frames()[n][:75][centres_s < 1.5] for n in names])
    values = np.tile((centres_s[centres_s < 1.5] >= 0.5).astype(int), len(names))
    chosen = brute_force(own, codebooks[32]).argmin(1)
    commonest = sum(np.bincount(values[chosen == k]).max() for k in set(chosen.tolist()))
    found = json.loads((OUT / "report.json").read_text())["32"]["train"]["phone"]
    assert found["purity"] == pytest.approx(commonest / len(own))
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(values, chosen))


def test_twice_the_same_bytes(fold: Path) -> None:
    main(fold=0)
    first = digests()
    main(fold=0)
    assert digests() == first
    names = ["SHA256SUMS", "codebooks.safetensors", "provenance.json", "report.json", "units.h5"]
    assert sorted(first) == names


def test_dev_frames_never_move_a_centroid(project: Path) -> None:
    set_cluster(project, scales=[8, 32], sample=2000, iterations=8)
    write_fold(CLIPS, ROLES, frames(dev_shift=100.0))
    main(fold=0)
    codebooks = read_codebooks(OUT / "codebooks.safetensors")
    assert max(np.abs(c).max() for c in codebooks.values()) < 10
    report = json.loads((OUT / "report.json").read_text())
    assert report["8"]["dev"]["inertia"] > 1000 * report["8"]["train"]["inertia"]


def test_frames_of_one_value_are_refused_and_the_old_units_stay(project: Path) -> None:
    set_cluster(project, scales=[5], sample=2000, iterations=8)
    write_fold(CLIPS, ROLES, {c.clip: np.ones((25, 12), np.float32) for c in CLIPS})
    OUT.mkdir(parents=True)
    (OUT / "old").write_text("old")
    with pytest.raises(PipelineError, match=r"cluster\.scales has 5 centroids, but only 1 own"):
        main(fold=0)
    assert [file.name for file in OUT.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": [8, 4096]}, r"4096 centroids.* 2000 frames"),
        ({"scales": [8, 8]}, r"cluster\.scales must be ascending"),
        ({"scales": [32, 8]}, r"cluster\.scales must be ascending"),
        ({"scales": [1]}, r"cluster\.scales\.0"),
        ({"scales": []}, r"cluster\.scales"),
        ({"sample": 0}, r"cluster\.sample"),
        ({"iterations": 0}, r"cluster\.iterations"),
    ],
)
def test_what_cannot_be_clustered_is_one_line(
    fold: Path, values: dict[str, object], message: str
) -> None:
    set_cluster(fold, **values)
    with pytest.raises(PipelineError, match=message):
        main(fold=0)


def test_units_of_other_frames_are_refused(fold: Path) -> None:
    text = Path("artifacts/clips/demo/manifest.csv").read_text()
    Path("artifacts/clips/demo/manifest.csv").write_text(text.replace(",a-0\n", ",changed\n"))
    with pytest.raises(PipelineError, match="other clips"):
        main(fold=0)


def test_help_loads_nothing_heavy_and_a_run_no_torch(fold: Path) -> None:
    heavy = "{m for m in ('torch', 'faiss', 'sklearn', 'h5py', 'scipy') if m in sys.modules}"
    code = (
        f"import sys; from stages.cluster import main; assert not {heavy}, {heavy}; "
        "main(fold=0); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0
