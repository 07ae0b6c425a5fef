"""One person under several spellings, and names of no one."""

import unicodedata
from pathlib import Path

import pytest

from pipeline.corpora import audit, registry, speakers
from pipeline.corpora.entries import Corpus
from pipeline.corpora.registry import Parsed
from tests.corpora.test_audit import prepared
from tests.recordings import labelled


def parse(folder: Path, rows: list[str], header: str = "path,emotion,speaker") -> Parsed:
    labelled(folder, [f"{n}.wav,sad,{row}" for n, row in enumerate(rows)], header)
    return registry.parse("table", folder)


def test_spellings_of_one_name_are_one_person(tmp_path: Path) -> None:
    name = "J\u00fcrgen"
    spelt = [
        unicodedata.normalize("NFD", name),
        name,
        name.upper(),
        f"{name} ",
        "ben",
        "Ben",
        "ben",
    ]
    parsed = parse(tmp_path, spelt)
    assert {row.source[0]: row.speaker for row in parsed.rows} == {
        **dict.fromkeys("0123", name), **dict.fromkeys("456", "ben")
    }  # fmt: skip
    assert {row.session for row in parsed.rows} == {name, "ben"}
    assert parsed.warnings == [
        "speaker 'Ben' is taken as 'ben'",
        f"speaker '{name.upper()}' is taken as '{name}'",
    ]


def test_sessions_in_two_spellings_are_one(tmp_path: Path) -> None:
    parsed = parse(tmp_path, ["a,S1", "b,s1", "c,S1", "d,?"], "path,emotion,speaker,session")
    assert [row.session for row in parsed.rows] == ["S1", "S1", "S1", ""]
    assert parsed.warnings == [
        "session '?' names no one and is taken as unknown",
        "session 's1' is taken as 'S1'",
    ]


@pytest.mark.parametrize(
    "name", ["Unknown", "UNK", "n/a", "N.A.", "?", "-", "<unknown>", "None", "NaN"]
)
def test_a_name_of_no_one_is_no_person(tmp_path: Path, name: str) -> None:
    parsed = parse(tmp_path, [name, "anna"])
    assert [(row.speaker, row.session) for row in parsed.rows] == [("", ""), ("anna", "anna")]
    assert parsed.warnings == [f"speaker {name!r} names no one and is taken as unknown"]


@pytest.mark.parametrize("name", ["Anna", "0", "01", "nana", "F", "王", "n", "unknown_2"])
def test_names_of_someone_stay_as_they_are(tmp_path: Path, name: str) -> None:
    parsed = parse(tmp_path, [name])
    assert ([row.speaker for row in parsed.rows], parsed.warnings) == ([name], [])


def test_a_speaker_of_two_genders_is_told() -> None:
    made = [
        prepared("a", speaker="anna", gender="female"),
        prepared("b", speaker="anna", gender="male"),
        prepared("c", speaker="anna", gender="female"),
        prepared("d", speaker="ben", gender="male"),
        prepared("e", speaker="ben", gender="unknown"),
        prepared("f", speaker="", gender="male"),
        prepared("g", speaker="", gender="female"),
    ]
    outcome = audit.settle(Parsed([p.row for p in made], [], [], ["told before"]), made)
    assert audit.report("toy", Corpus(parse=lambda _: ()), outcome)["warnings"] == [
        "told before",
        "speaker 'anna' has two genders: utterances 2 female, 1 male",
    ]


def test_a_key_is_the_same_for_what_looks_the_same() -> None:
    assert speakers.key("  \uff21NNA  B ") == speakers.key("anna b")
    assert speakers.key("anna") != speakers.key("ana")
