"""Databases that audformat itself writes: which table is read, and what becomes of it."""

import pickle
from pathlib import Path
from typing import Any

import audformat
import pandas as pd
import pytest

from pipeline.corpora import registry
from pipeline.corpora.entries import FOUND, Choice, OutOfScope, Reject, Row
from pipeline.ground.errors import PipelineError
from tests.recordings import record, tone

SPEAKERS = {
    "s1": {"gender": "female", "language": "deu", "age": 31},
    "s2": {"gender": "male"},
    "s3": {"gender": "other"},
}


def empty(labels: Any = ("anger", "happiness", "neutral", "boredom")) -> Any:
    database = audformat.Database(
        "mini", license="CC0-1.0", languages=["deu"], expires="2099-01-01"
    )
    database.schemes["emotion"] = audformat.Scheme(labels=list(labels))
    database.schemes["speaker"] = audformat.Scheme(labels=SPEAKERS)
    for split in ("train", "dev", "test"):
        database.splits[split] = audformat.Split(split)
    return database


def add(database: Any, name: str, index: Any, split: str | None = None, **columns: Any) -> None:
    """A table whose columns have the scheme of their name, where there is one."""
    table = database[name] = audformat.Table(index, split_id=split)
    for column, values in columns.items():
        scheme = column if column in database.schemes else None
        table[column] = audformat.Column(scheme_id=scheme)
        table[column].set(values)


def files(*names: str) -> Any:
    return audformat.filewise_index([f"wav/{name}.wav" for name in names])


def saved(database: Any, folder: Path, kind: str = "csv", *names: str) -> Path:
    database.save(str(folder), storage_format=kind)
    for number, name in enumerate(names):
        record(folder / f"wav/{name}.wav", tone(2.0, 200 + 10 * number))
    return folder


def rows_of(folder: Path, choice: Choice = FOUND) -> dict[str, Row]:
    return {row.utterance: row for row in registry.parse("audformat", folder, choice).rows}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_are_joined_with_what_is_said_of_their_speakers(tmp_path: Path, kind: str) -> None:
    database = empty()
    add(database, "files", files("a", "b", "c"), speaker=["s1", "s2", "s3"])
    add(
        database,
        "emotion",
        files("a", "b", "c", "d"),
        emotion=["anger", "boredom", None, "neutral"],
    )
    folder = saved(database, tmp_path, kind, "a", "b", "c", "stray")
    parsed = registry.parse("audformat", folder)
    told = {
        row.utterance: (row.speaker, row.gender, row.language, row.emotion, row.role)
        for row in parsed.rows
    }
    assert told == {
        "wav/a": ("s1", "female", "deu", "angry", ""),
        "wav/b": ("s2", "male", "", "boredom", ""),
    }
    assert {(r.source, r.code) for r in parsed.rejects} == {
        ("wav/c.wav", "unlabelled"),
        ("wav/d.wav", "missing"),
    }
    assert [o.source for o in parsed.out_of_scope] == ["wav/stray.wav"]
    assert {row.session for row in parsed.rows} == {"s1", "s2"}


def test_segments_of_splits_and_columns_beside_the_emotion(tmp_path: Path) -> None:
    database = empty()
    database.schemes["gender"] = audformat.Scheme(labels=["female", "male"])
    train = audformat.segmented_index(["wav/a.wav"] * 2, ["0s", "0.5s"], ["0.5s", pd.NaT])
    test = audformat.segmented_index(["wav/b.wav"], ["1s"], ["1.5s"])
    add(
        database,
        "emotion.train",
        train,
        "train",
        emotion=["anger", "neutral"],
        speaker=["s1", "s2"],
        gender=["male", "male"],
    )
    add(database, "emotion.test", test, "test", emotion=["happiness"], speaker=["s3"])
    found = rows_of(saved(database, tmp_path, "csv", "a", "b"))
    told = {
        name: (r.start_s, r.end_s, r.emotion, r.speaker, r.gender, r.role)
        for name, r in found.items()
    }
    assert told == {
        "wav/a@0": (0.0, 0.5, "angry", "s1", "male", "train"),
        "wav/a@0.5": (0.5, None, "neutral", "s2", "male", "train"),
        "wav/b@1": (1.0, 1.5, "happy", "s3", "unknown", "test"),
    }


def test_speakers_may_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    database = empty()
    people = database["speaker"] = audformat.MiscTable(
        pd.Index(["s1", "s2"], name="speaker", dtype="string")
    )
    people["gender"] = audformat.Column()
    people["gender"].set(["male", "female"])
    database.schemes["speaker"] = audformat.Scheme(labels="speaker", dtype="str")
    add(database, "emotion", files("a", "b"), emotion=["anger", "neutral"], speaker=["s1", "s2"])
    found = rows_of(saved(database, tmp_path, "parquet", "a", "b"))
    assert [row.gender for row in found.values()] == ["male", "female"]


def several() -> Any:
    """As EmoDB 2.0: the emotion in a table, and others of it in tables of splits."""
    database = empty()
    add(database, "emotion", files("a", "b"), emotion=["anger", "neutral"], confidence=[0.5, 1.0])
    add(database, "categories.train", files("a"), "train", emotion=["anger"])
    add(database, "categories.test", files("b"), "test", emotion=["neutral"])
    add(database, "raters", files("a", "b"), first=["x", "y"], second=["anger", "z"])
    return database


def test_which_table_is_meant_is_said_or_asked(tmp_path: Path) -> None:
    folder = saved(several(), tmp_path / "mini", "csv", "a", "b")
    with pytest.raises(
        PipelineError,
        match=r"several tables or columns may hold the emotion, set corpus\.mini\.table",
    ) as caught:
        registry.parse("audformat", folder)
    for name in ("emotion (emotion)", "categories.train (emotion)", "categories.test (emotion)"):
        assert name in str(caught.value)
    assert "raters" not in str(caught.value)
    roles = {n: r.role for n, r in rows_of(folder, Choice("categories.*")).items()}
    assert roles == {"wav/a": "train", "wav/b": "test"}
    assert {r.role for r in rows_of(folder, Choice("emotion")).values()} == {""}
    told = {n: r.emotion for n, r in rows_of(folder, Choice("raters", "second")).items()}
    assert told == {"wav/a": "angry", "wav/b": "z"}


@pytest.mark.parametrize(
    "choice", [Choice("raters"), Choice("nothing"), Choice("", "third"), Choice("*", "emotion")]
)
def test_a_choice_that_leaves_none_or_several_names_what_there_is(
    tmp_path: Path, choice: Choice
) -> None:
    folder = saved(several(), tmp_path / "mini", "csv", "a", "b")
    with pytest.raises(
        PipelineError, match=r"(may hold the emotion, set .* one of: |listed twice)"
    ):
        registry.parse("audformat", folder, choice)


def test_other_parsers_have_nothing_to_choose(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="which parser ravdess does not read, remove them"):
        registry.parse("ravdess", tmp_path, Choice("emotion"))


def test_audio_in_archives_is_not_missing_but_to_be_extracted(tmp_path: Path) -> None:
    database = empty()
    add(database, "emotion", files("a", "b"), emotion=["anger", "neutral"])
    folder = saved(database, tmp_path, "csv", "a")
    assert [r.code for r in registry.parse("audformat", folder).rejects] == ["missing"]
    (folder / "media.zip").write_bytes(b"PK")
    with pytest.raises(
        PipelineError, match=r"media\.zip: audio that the tables name is missing and may be in"
    ):
        registry.parse("audformat", folder)
    record(folder / "wav/b.wav")
    assert len(rows_of(folder)) == 2


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


def test_no_code_of_a_database_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """audformat itself opens a pickle before a table, and reads YAML with Python's own tags."""
    monkeypatch.chdir(tmp_path)
    database = empty()
    add(database, "emotion", files("a"), emotion=["anger"])
    folder = saved(database, tmp_path / "mini", "csv", "a")
    (folder / "db.emotion.pkl").write_bytes(pickle.dumps(Evil()))
    assert len(rows_of(folder)) == 1
    header = folder / "db.yaml"
    text = header.read_text("utf-8")
    header.write_text(text + "meta: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises(PipelineError, match=r"db\.yaml: no database in audformat"):
        registry.parse("audformat", folder)
    assert not Path("ran").exists()


def spoilt(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("db.yaml", "name: mini", "name: [", "db.yaml: no database in audformat"),
        ("db.yaml", "tables:", "tables: 5\nmore:", "no database in audformat"),
        ("db.yaml", "scheme_id: emotion", "scheme_id: gone", "no database in audformat"),
        ("db.emotion.csv", "anger", "fury", "row 1 has no emotion of its scheme"),
        ("db.emotion.csv", "wav/a.wav", "../a.wav", "file must lie within the corpus folder"),
        ("db.emotion.csv", "wav/a.wav", "/etc/a.wav", "file must lie within the corpus folder"),
    ],
)
def test_a_malformed_database_is_one_line(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    database = empty()
    add(database, "emotion", files("a"), emotion=["anger"])
    folder = saved(database, tmp_path, "csv", "a")
    spoilt(folder, file, old, new)
    with pytest.raises(PipelineError, match=told) as caught:
        registry.parse("audformat", folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_table_or_a_header_that_is_not_there_is_named(tmp_path: Path) -> None:
    database = empty()
    add(database, "emotion", files("a"), emotion=["anger"])
    folder = saved(database, tmp_path, "csv", "a")
    (folder / "db.emotion.csv").unlink()
    with pytest.raises(PipelineError, match=r"db\.emotion\.csv: no such file, db\.yaml names"):
        registry.parse("audformat", folder)
    (folder / "db.yaml").unlink()
    with pytest.raises(PipelineError, match=r"db\.yaml: no such file, expected a database"):
        registry.parse("audformat", folder)


def test_what_the_walk_refuses_is_told_with_its_row(tmp_path: Path) -> None:
    database = empty()
    add(database, "emotion", files("a", "b"), emotion=["anger", "neutral"])
    folder = saved(database, tmp_path, "csv", "a")
    (folder / "wav/b.wav").symlink_to("nowhere")
    parsed = registry.parse("audformat", folder)
    assert [(type(r), r.code, r.label) for r in parsed.rejects] == [
        (Reject, "link", f"{folder}/db.emotion.csv: row 2")
    ]
    assert not any(
        isinstance(o, OutOfScope) and o.source == "wav/b.wav" for o in parsed.out_of_scope
    )
