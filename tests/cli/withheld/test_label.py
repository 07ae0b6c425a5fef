"""`ser label`: MSP-Podcast's Test3 from its files to the challenge's, on a miniature."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from pipeline.cli import main as cli
from pipeline.cli.preset import merged
from pipeline.ground import params
from pipeline.splits import folds
from stages import encoder, extract, finetune_cached, preprocess, split

OVERLAY = """
corpora: [msp-podcast]
features: [fbank]
folds: [0]
adapted: []
methods: {cached: [linear], pretrained: [], retrained: []}
probe: {tasks: [], features: []}
task: {emotion: {classes: [angry, contempt], merge: {}}}
tasks: {cached: [emotion], pretrained: [], retrained: []}
crnn: {tasks: [], features: []}
preprocess: {max_clip_s: 0.5}
split: {by: published, count: all, dev: none}
finetune: {methods: {linear: {pooling: mean, c: [1.0]}}}
"""
PARTS = ("Train", "Train", "Train", "Development", "Test1", "Test3")
LINEAR = "artifacts/classifiers/emotion/fbank/linear/0"
PITCH_HZ = {"A": 250.0, "C": 2000.0}


@pytest.fixture
def msp(project: Path) -> dict[str, str]:
    """Low tones are angry, high ones contempt, of one clip or two; the code of each Test3 file."""
    rng, root, truth = np.random.default_rng(0), Path("data/raw/msp-podcast"), {}
    labels, parts = ["FileName,EmoClass,SpkrID,Gender,Split_Set"], []
    (root / "Audios").mkdir(parents=True)
    for number in range(36):
        part, code = PARTS[number % 6], "AC"[number // 6 % 2]
        name = f"MSP-PODCAST_{number % 6:04d}_{number:04d}.wav"
        time_s = np.arange(int(16000 * rng.uniform(0.3, 0.9))) / 16000
        wave = 0.2 * np.sin(2 * np.pi * PITCH_HZ[code] * time_s)
        noise = 0.01 * rng.standard_normal(len(wave))
        soundfile.write(root / "Audios" / name, wave + noise, 16000)
        parts.append(f"{part}; {name}")
        if part == "Test3":
            truth[name] = code
        else:
            labels.append(f"{name},{code},{number % 6 + 1},Male,{part}")
    (root / "labels_consensus.csv").write_text("\n".join(labels) + "\n", "utf-8")
    (root / "Partitions.txt").write_text("\n".join(parts) + "\n", "utf-8")
    text = merged(Path("params.yaml").read_text("utf-8"), OVERLAY)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    preprocess.main("msp-podcast")
    split.main()
    encoder.main("fbank")
    extract.main("fbank", "msp-podcast")
    finetune_cached.main("emotion", "fbank", "linear", 0)
    return truth


def label(*arguments: str) -> int:
    with pytest.raises(SystemExit) as status:
        cli.app(["label", *arguments])
    return int(str(status.value.code or 0))


def test_every_file_of_test3_gets_a_code_and_no_other_file(
    msp: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(msp) == 6
    assert label("msp-podcast", "test3.csv", "--classifier", LINEAR) == 0
    with Path("test3.csv").open(encoding="utf-8", newline="") as file:
        assert file.readline() == "FileName,EmoClass\n"
        assert dict(csv.reader(file)) == msp
    assert "test3.csv: 6 files, 3 A, 3 C" in capsys.readouterr().out
    assert label("msp-podcast", "test3.csv", "--classifier", LINEAR) == 1
    assert "test3.csv: exists" in capsys.readouterr().err


def test_what_is_unlabelled_is_embedded_and_in_no_fold(msp: dict[str, str]) -> None:
    names = {name.removesuffix(".wav") for name in msp}
    with h5py.File("artifacts/embeddings/fbank/msp-podcast.h5") as file:
        embedded = {clip.split("/")[1].split("#")[0] for clip in file["clip"].asstr()[:]}
    divided = {clip.split("/")[1].split("#")[0] for clip in folds.read(0)}
    assert names < embedded
    assert embedded - divided == names


def test_a_class_without_a_code_is_refused(
    msp: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(LINEAR) / "features.json"
    path.write_text(path.read_text("utf-8").replace("contempt", "calm"), "utf-8")
    (path.parent / "SHA256SUMS").unlink(missing_ok=True)
    assert label("msp-podcast", "test3.csv", "--classifier", LINEAR) == 1
    told = capsys.readouterr().err
    assert "the class 'calm', which msp-podcast has no code for" in told.splitlines()[-1]
    assert not Path("test3.csv").exists()


def test_a_corpus_whose_clips_all_have_labels_is_refused(
    msp: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Path("artifacts/clips/msp-podcast/manifest.csv")
    (manifest.parent / "SHA256SUMS").unlink()
    rows = list(csv.DictReader(manifest.open(encoding="utf-8", newline="")))
    with manifest.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(row for row in rows if row["emotion"])
    assert label("msp-podcast", "test3.csv", "--classifier", LINEAR) == 1
    assert "every clip has a label" in capsys.readouterr().err
