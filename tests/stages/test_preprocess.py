"""The command `preprocess`, run as `dvc repro` runs it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpora import manifest
from pipeline.ground.code import ROOT
from pipeline.units import phones
from tests.patience import PATIENCE_S
from tests.recordings import labelled, record, tone

HEADER = "path,emotion,speaker,gender,session,share_joy"


def configure(project: Path, corpus: str = "toy", **preprocess: str) -> None:
    """Make a corpus of the parser `table` the active one, and set keys of `preprocess`."""
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    text = text.replace("\n- demo\n", f"\n- {corpus}\n", 1)
    text = text.replace(
        "\ncorpus:\n", f"\ncorpus:\n  {corpus}:\n    parser: table\n    language: en\n", 1
    )
    lines = text.splitlines()
    section = lines.index(next(line for line in lines if line.startswith("preprocess:")))
    for key, value in preprocess.items():
        at = next(n for n in range(section, len(lines)) if lines[n].startswith(f"  {key}:"))
        lines[at] = f"  {key}: {value}"
    path.write_text("\n".join(lines) + "\n", "utf-8")


def command(*arguments: str, python: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *python, "-m", *arguments]


def run(
    corpus: str = "toy", python: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("stages.preprocess", "--corpus", corpus, python=python),
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def toy(project: Path, utterances: int = 6) -> Path:
    raw = project / "data/raw/toy"
    rows = [f"wav/{n}.wav,{'sad' if n % 2 else 'happy'},s{n % 3},female,1,0.5"
            for n in range(utterances)]  # fmt: skip
    labelled(raw, rows, HEADER)
    return raw


def test_a_corpus_becomes_clips_manifest_rejects_and_audit(project: Path) -> None:
    configure(project, max_reject_fraction="0.5", max_clip_s="1.0")
    raw = toy(project)
    record(raw / "wav/0.wav", tone(2.5, rate_hz=44_100), 44_100)
    record(raw / "wav/1.wav", np.zeros(16_000, np.float32))
    record(raw / "stray.wav")
    (raw / "phones.csv").write_text("path,start_s,end_s,class\nwav/0.wav,0.5,1.25,vowel\n")
    done = run()
    assert done.returncode == 0, done.stderr
    assert "toy: 5 of 7 files kept, see audit.json" in done.stderr
    clips = manifest.read(["toy"])
    assert [c.clip for c in clips][:4] == [
        "toy/wav/0#1", "toy/wav/0#2", "toy/wav/0#3", "toy/wav/2",
    ]  # fmt: skip
    assert all(c.file.is_file() for c in clips)
    assert phones.read(["toy"]) == {
        "toy/wav/0#1": [phones.Phone(0.5, 1.0, "vowel")],
        "toy/wav/0#2": [phones.Phone(0.0, 0.25, "vowel")],
    }
    assert (clips[0].language, clips[0].shares, clips[0].speaker) == ("en", {"joy": 0.5}, "toy/s0")
    folder = project / "artifacts/clips/toy"
    with (folder / "rejects.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"source": "wav/1.wav", "code": "silent", "detail": "no 25 ms above -70 dBFS"}
        ]
    report = json.loads((folder / "audit.json").read_text())
    assert (report["found"], report["kept"], report["clips"]) == (7, 5, 7)
    assert report["out_of_scope"] == {"not in labels.csv": 1}
    assert not (folder / "published.csv").exists()


def test_what_is_to_be_said_of_sources_is_said_at_the_end(project: Path) -> None:
    configure(project, max_reject_fraction="0.5")
    raw = toy(project)
    record(raw / "wav/0.wav", np.clip(tone(0.5, level=2.0), -1, 1))
    piped = bytearray((raw / "wav/1.wav").read_bytes())
    piped[40:44] = b"\xff\xff\xff\xff"
    (raw / "wav/1.wav").write_bytes(piped)
    record(raw / "wav/2.wav", tone(0.5) * 32_767, subtype="FLOAT")
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-4:] == [
        "toy: more than 0.1% of samples at full scale (clipped): wav/0.wav",
        "toy: no length in the header, read to the end of the file: wav/1.wav",
        "toy: 2 happy, 3 sad",
        "toy: 5 of 6 files kept, see audit.json",
    ]
    # The scratch store remembers them.
    again = run()
    assert again.stderr.splitlines()[-4:] == done.stderr.splitlines()[-4:]


def test_a_partition_of_the_authors_is_kept(project: Path) -> None:
    configure(project)
    labelled(
        project / "data/raw/toy",
        ["a.wav,sad,s1,train", "b.wav,sad,s2,devel", "c.wav,sad,s3,test"],
        "path,emotion,speaker,split",
    )
    assert run().returncode == 0
    text = (project / "artifacts/clips/toy/published.csv").read_text()
    assert text == "fold,utterance,role\n0,toy/a,train\n0,toy/b,dev\n0,toy/c,test\n"


def test_nothing_depends_on_locale_optimisation_or_write_access_to_raw(project: Path) -> None:
    configure(project)
    raw = toy(project)
    record(raw / "wav/5.wav", tone(0.6, rate_hz=48_000), 48_000)
    folder = project / "artifacts/clips/toy"
    assert run().returncode == 0
    first = contents(folder)
    for path in raw.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = run(python=("-O",), LC_ALL="C", LANG="C", TZ="Asia/Tokyo", SER_SCRATCH="other")
    assert done.returncode == 0, done.stderr
    assert contents(folder) == first


def test_old_outputs_survive_a_damaged_corpus(project: Path) -> None:
    configure(project)
    raw = toy(project)
    folder = project / "artifacts/clips/toy"
    assert run().returncode == 0
    first = contents(folder)
    (raw / "wav/3.wav").write_bytes((raw / "wav/3.wav").read_bytes()[:1_000])
    done = run()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "data/raw/toy: 1 of 6 utterances rejected (1 truncated; first wav/3.wav: 956 bytes"
    )
    assert contents(folder) == first
    assert not list((project / "artifacts/.staging").iterdir())


@pytest.mark.parametrize(
    ("corpus", "told"),
    [
        ("toy", "data/raw/toy: no such folder, put the corpus there"),
        ("ravdes", "params.yaml: no 'ravdes' under corpus, did you mean 'ravdess'?"),
    ],
)
def test_a_missing_corpus_is_one_line(project: Path, corpus: str, told: str) -> None:
    configure(project)
    done = run(corpus)
    assert done.returncode == 1
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1


def test_a_recording_called_like_a_part_of_another_is_not_written_over(project: Path) -> None:
    configure(project, max_clip_s="1.0")
    raw = project / "data/raw/toy"
    record(raw / "talk.wav", tone(2.5))
    labelled(raw, ["talk.wav,sad,s1", "talk#1.wav,sad,s1"])
    done = run()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "talk.wav: makes the clip 'talk#1', as talk#1.wav does, rename one"
    )
    assert not (project / "artifacts/clips/toy").exists()


@pytest.mark.parametrize("name", ["my corpus", "a/b", "2023"])
def test_a_corpus_name_that_cannot_be_is_one_line(project: Path, name: str) -> None:
    done = run(name)
    assert done.returncode == 1
    assert done.stderr.startswith(f"params.yaml: corpus name {name!r}: expected letters, digits")
    assert len(done.stderr.splitlines()) == 1


def test_what_was_made_of_names_is_told(project: Path) -> None:
    configure(project)
    labelled(
        project / "data/raw/toy",
        ["a.wav,sad,Anna,f", "b.wav,sad,anna,m", "c.wav,sad,Anna,f", "d.wav,sad,Unknown,f"],
        "path,emotion,speaker,Gender",
    )
    done = run()
    assert done.returncode == 0, done.stderr
    told = [
        "speaker 'Unknown' names no one and is taken as unknown",
        "speaker 'anna' is taken as 'Anna'",
        "speaker 'Anna' has two genders: utterances 2 female, 1 male",
    ]
    assert [line for line in done.stderr.splitlines() if line.startswith("toy: s")] == [
        f"toy: {line}" for line in told
    ]
    assert [c.speaker for c in manifest.read(["toy"])] == ["toy/Anna"] * 3 + [""]
    report = json.loads((project / "artifacts/clips/toy/audit.json").read_text())
    assert report["warnings"] == told
    assert report["label_rows"] == {"found": 4, "kept": 4, "rejected": 0, "out_of_scope": 0}


def test_augmented_clips_stand_in_the_manifest(project: Path) -> None:
    configure(
        project,
        augment="[{kind: noise, name: noisy, low: 10.0, high: 20.0},"
        " {kind: pitch, name: shifted, low: -2.0, high: 2.0}]",
    )
    toy(project, 2)
    done = run()
    assert done.returncode == 0, done.stderr
    assert {c.clip: c.augmented_from for c in manifest.read(["toy"])} == {
        "toy/wav/0": "",
        "toy/wav/0~noisy": "toy/wav/0",
        "toy/wav/0~shifted": "toy/wav/0",
        "toy/wav/1": "",
        "toy/wav/1~noisy": "toy/wav/1",
        "toy/wav/1~shifted": "toy/wav/1",
    }


def test_preprocess_needs_no_torch() -> None:
    code = "import sys, stages.preprocess, stages.split; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout == "False\n"
