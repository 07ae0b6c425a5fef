"""How long a corpus is, from headers, tables or its manifest, against what was written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.corpora import manifest
from pipeline.corpora.entries import Row
from pipeline.ground import params
from pipeline.needs import hours
from tests import recordings


def define() -> None:
    path = Path("params.yaml")
    own = "\ncorpus:\n  own: {parser: table, language: en}\n"
    path.write_text(path.read_text("utf-8").replace("\ncorpus:\n", own, 1), "utf-8")
    params.read.cache_clear()


def record(seconds: list[float]) -> Path:
    """Files of these lengths, at two rates and in two formats, and their table."""
    folder = Path("data/raw/own")
    folder.mkdir(parents=True)
    rows = ["path,emotion,speaker"]
    for number, length in enumerate(seconds):
        rate, kind = ((16000, "wav"), (44100, "flac"))[number % 2]
        noise = 0.1 * np.random.default_rng(number).standard_normal(round(length * rate))
        soundfile.write(folder / f"{number:03d}.{kind}", noise, rate)
        rows.append(f"{number:03d}.{kind},sad,s{number % 3}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def test_headers_tell_it(project: Path) -> None:
    define()
    lengths = [0.5, 1.0, 2.0, 25.0, 41.0]
    folder = record(lengths)
    soundfile.write(folder / "not-in-the-table.wav", np.zeros(160000), 16000)
    found = hours.of("own")
    assert found.seconds == pytest.approx(sum(lengths), abs=1e-3)
    assert found.clips == 3 + 2 + 3  # of at most 20 s
    assert found.source == "5 headers"


def test_a_few_headers_stand_for_many_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define()
    lengths = [0.5 + (7 * n % 10) / 5 for n in range(60)]
    record(lengths)
    monkeypatch.setattr(hours, "SAMPLED", 8)
    found = hours.of("own")
    assert found.source == "16 headers"  # of two kinds
    assert found.seconds == pytest.approx(sum(lengths), rel=0.1)


def test_parts_that_a_table_names_need_no_header(project: Path) -> None:
    row = Row("a.wav", "a", "s", "female", "", "sad", start_s=2.5, end_s=4.0)
    found = hours._measured(project, [row, replace(row, start_s=10.0, end_s=31.5)])
    assert found == hours.Amount(23.0, 3, "its tables")


def test_a_manifest_is_believed_and_copies_are_left_to_the_settings(project: Path) -> None:
    define()
    own = [recordings.clip(f"u{n}", corpus="own", path=f"{n}.flac", duration_s=n) for n in (1, 2)]
    copy = recordings.clip("u1~low", corpus="own", path="3.flac", augmented_from="own/u1")
    path = manifest.CLIPS / "own/manifest.csv"
    path.parent.mkdir(parents=True)
    manifest.write(path, [*own, copy])
    assert hours.of("own") == hours.Amount(3.0, 2, "its manifest")


@pytest.mark.parametrize("state", ["absent", "empty", "damaged"])
def test_what_is_not_known_is_said_to_be_unknown(project: Path, state: str) -> None:
    define()
    if state != "absent":
        for path in record([1.0, 1.0]).glob("*.[wf]*"):
            path.write_bytes(b"" if state == "empty" else b"no audio")
    assert hours.of("own").seconds is None


def test_the_demo_is_known_before_it_is_made(project: Path) -> None:
    assert hours.of("demo") == hours.Amount(128 * 1.93, 128, "params.yaml")
