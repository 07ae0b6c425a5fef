"""stress: every method judges its test clips again; the clips are what their condition says."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.embeddings.extraction import Job
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import sha256
from pipeline.inference import judge
from stages import stress
from tests import toy
from tests.conftest import ROOT, on_device

CONDITIONS = ["babble-10", "noise-0", "louder-12", "speed-110"]
NAMES = [f"emotion/{start}/{method}" for start, method in toy.TRAINED]
OVERLAY = f"""
folds: [0]
adapted: []
runtime: {{workers: 0}}
features: [tiny, fbank]
methods: {{cached: [linear, frozen, lora-classifier], retrained: []}}
crnn: {{features: [fbank]}}
stress: {{classifiers: [{", ".join(NAMES)}], conditions: [{", ".join(CONDITIONS)}]}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of each method, on fold 0."""
    root = tmp_path_factory.mktemp("stress")
    text = (ROOT / "params.yaml").read_text("utf-8")
    (root / "params.yaml").write_text(text.replace("  - heard\n  - affect\n", ""), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SER_SCRATCH", ".scratch")
        on_device(root, "cpu")
        toy.run_stages(OVERLAY)
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    shutil.copytree(trained, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SER_SCRATCH", ".scratch")
    params.read.cache_clear()
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["role"] == "test"]


def logits(found: list[dict[str, str]]) -> Any:
    """Up to what is the same for all classes: `linear` writes log probabilities after training."""
    told = np.array([[float(row[n]) for n in ("angry", "sad", "happy")] for row in found])
    return told - told.mean(1, keepdims=True)


def heard(condition: str, clip: manifest.Clip) -> Any:
    (path,) = Path(".scratch").glob(f"*/{condition}/{clip.corpus}/{clip.path}")
    return soundfile.read(path, dtype="float32")[0]


@pytest.mark.parametrize("name", NAMES)
def test_each_method_judges_again_what_it_judged(project: Path, name: str) -> None:
    stress.main(name)
    out = project / "artifacts/stress" / name
    stored = rows(project / "artifacts/classifiers" / name / "0/predictions.csv")
    clean = rows(out / "clean/0/predictions.csv")
    known = ("utterance", "corpus", "speaker", "role", "label")
    assert [[r[k] for k in known] for r in clean] == [[r[k] for k in known] for r in stored]
    assert np.allclose(logits(clean), logits(stored), atol=2e-3)
    # Of waveforms, one by one, as `ser predict` has it: the mean over an utterance's clips.
    found, clips = (
        judge.load(project / "artifacts/classifiers" / name / "0"),
        manifest.read(["toy"]),
    )
    for condition in CONDITIONS:
        told = rows(out / condition / "0/predictions.csv")
        assert [row["utterance"] for row in told] == [row["utterance"] for row in stored]
        row = told[3]
        own = [clip for clip in clips if clip.utterance == row["utterance"]]
        each = found.logits([heard(condition, clip) for clip in own])
        assert np.allclose(logits([row])[0], each.mean(0) - each.mean(), atol=5e-3)
        assert not np.allclose(logits(told), logits(clean), atol=1e-3)


def test_the_clips_are_made_once_whatever_the_order_or_the_workers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stress.main("emotion/fbank/linear")
    files = sorted(path for path in Path(".scratch").rglob("*.flac"))
    before = {path: (sha256(path), path.stat().st_mtime_ns) for path in files}
    results = {p: sha256(p) for p in sorted(Path("artifacts/stress").rglob("*.csv"))}
    assert len(files) == len(CONDITIONS) * len({path.name for path in files})
    stress.main("emotion/fbank/crnn")
    assert {path: (sha256(path), path.stat().st_mtime_ns) for path in files} == before
    # Damaged, or gone: made anew, by others and in another order.
    files[0].write_bytes(b"fLaC" + bytes(100))
    for path in files[1::2]:
        path.unlink()
    text = Path("params.yaml").read_text("utf-8")
    other = f"runtime: {{workers: 2}}\nstress: {{conditions: [{', '.join(CONDITIONS[::-1])}]}}"
    Path("params.yaml").write_text(merged(text, other), "utf-8")
    params.read.cache_clear()
    stress.main("emotion/fbank/linear")
    assert {path: sha256(path) for path in files} == {path: b[0] for path, b in before.items()}
    assert {p: sha256(p) for p in results} == results


def test_embeddings_are_computed_once_for_all_that_read_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stress.main("emotion/fbank/linear")
    embedded: list[int] = []
    shards: Callable[..., Any] = Job.shards

    def watched(job: Job, clips: Any) -> Any:
        left = shards(job, clips)
        embedded.append(sum(map(len, left)))
        return left

    monkeypatch.setattr(Job, "shards", watched)
    stress.main("emotion/fbank/crnn")
    stress.main("emotion/fbank/lora-classifier")
    assert embedded == [0, 0]


def test_samples_at_full_scale_are_counted(project: Path) -> None:
    stress.main("emotion/fbank/linear")
    told = json.loads(Path("artifacts/stress/emotion/fbank/linear/conditions.json").read_text())
    assert list(told) == ["clean", *CONDITIONS]
    assert told["clean"]["clipped"] == 0
    tested = {
        row["utterance"]
        for row in rows(Path("artifacts/classifiers/emotion/fbank/linear/0/predictions.csv"))
    }
    own = [clip for clip in manifest.read(["toy"]) if clip.utterance in tested]
    waves = [heard("louder-12", clip) for clip in own]
    clipped = sum(int((np.abs(wave) >= 32767 / 32768).sum()) for wave in waves)
    assert told["louder-12"] == {"samples": sum(map(len, waves)), "clipped": clipped}
    # 12 dB are a factor of four; sines of 0.2 beside noise then touch full scale hardly ever.
    quiet = [soundfile.read(clip.file, dtype="float32")[0] for clip in own]
    assert clipped == sum(int((np.abs(wave) * 10**0.6 * 32768 >= 32766.5).sum()) for wave in quiet)


def test_who_speaks_never_babbles(project: Path) -> None:
    """Each speaker of a corpus is a tone of their own: what is added has all others' and not it."""
    from pipeline.audio.flac import write_flac
    from pipeline.inference.stress import clips
    from tests.recordings import clip, tone

    made = []
    for speaker in range(4):
        for take in range(3):
            name = f"{speaker}{take}"
            path = manifest.CLIPS / "tones" / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = write_flac(path, tone(1.0, 500 + 500 * speaker))
            one = clip(
                name, corpus="tones", path=path.name, speaker=f"tones/{speaker}", sha256=digest
            )
            made.append(one)
    store = project / "store"
    store.mkdir()
    found = clips.Studio(clips.speakers(made), 6, 1, store, 0).under("babble-0", made)
    for one in made:
        added = soundfile.read(found[one.clip].clip.file)[0] - soundfile.read(one.file)[0]
        spectrum = np.abs(np.fft.rfft(added)) ** 2
        bands = [spectrum[500 * n - 20 : 500 * n + 20].sum() for n in range(1, 5)]
        own = int(one.speaker[-1])
        assert bands[own] < 1e-3 * min(b for n, b in enumerate(bands) if n != own)
    alone = [one for one in made if one.speaker == "tones/0"]
    with pytest.raises(PipelineError, match=r"nobody else of tones can babble.*take babble out"):
        clips.Studio(clips.speakers(alone), 6, 1, store, 0).under("babble-20", alone)


def test_what_is_not_active_is_refused(project: Path) -> None:
    text = Path("params.yaml").read_text("utf-8")
    for names, told in (
        (
            "[emotion/fbank/full]",
            "'emotion/fbank/full', which is not active, remove it",
        ),
        ("[emotion/fbank/crnn, emotion/fbank/crnn]", "'emotion/fbank/crnn' twice, remove one"),
        ("[]", "stress.classifiers has no 'emotion/fbank/crnn', add it"),
    ):
        Path("params.yaml").write_text(merged(text, f"stress: {{classifiers: {names}}}"), "utf-8")
        params.read.cache_clear()
        with pytest.raises(PipelineError) as error:
            stress.main("emotion/fbank/crnn")
        assert told in str(error.value)
