"""Layouts in miniature, with their known defects, of corpora whose audio is not here."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.corpora import published
from pipeline.corpora.registry import corpus_of, parse
from pipeline.ground.errors import PipelineError
from tests.corpora.test_accounts import emodb_2
from tests.corpora.test_parsers import reasons
from tests.recordings import record, tone


def test_esd_reads_emotions_from_folders_and_languages_from_speakers(tmp_path: Path) -> None:
    files = ["0001/Angry/0001_000351", "0010/Surprise/0010_001401", "0011/Happy/0011_000701"]
    for number, name in enumerate([*files, "0011/Happy/notes", "0099/Happy/0099_000701"]):
        record(tmp_path / f"{name}.wav", tone(0.5, 200 + number))
    # One of the encodings in which transcripts are.
    (tmp_path / "0001/0001.txt").write_bytes("0001_000351\t打远一看\t生气\n".encode("gb2312"))
    parsed = parse("esd", tmp_path)
    assert [
        (r.utterance, r.speaker, r.gender, r.language, r.emotion, r.role) for r in parsed.rows
    ] == [
        ("0001_000351", "0001", "female", "zh", "angry", ""),
        ("0010_001401", "0010", "male", "zh", "surprise", ""),
        ("0011_000701", "0011", "male", "en", "happy", ""),
    ]
    assert set(reasons(parsed).values()) == {"not named as in ESD"}


def test_esd_takes_the_partitions_of_its_older_archives(tmp_path: Path) -> None:
    parts = {"train": "000401", "evaluation": "000351", "test": "000371"}
    for part, number in parts.items():
        record(tmp_path / f"0020/Angry/{part}/0020_{number}.wav", tone(0.5, int(number)))
    parsed = parse("esd", tmp_path)
    assert {(r.utterance, r.emotion) for r in parsed.rows} == {
        (f"0020_{number}", "angry") for number in parts.values()
    }
    assert published.partitions("esd", corpus_of("esd"), parsed.rows) == [
        {"esd/0020_000401": "train", "esd/0020_000351": "dev", "esd/0020_000371": "test"}
    ]


def test_esd_counts_each_speaker_and_emotion_once() -> None:
    counts = corpus_of("esd").counts
    assert {sum(column.values()) for column in counts.values()} == {35_000}


NEMO = """file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage
WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki, nie?\tucho\t        WR0\tmale\t23
TP0_fear_46.wav\tfear\t„Żołwica” to dawne określenie.\tżołwica\t        TP0\tmale\t26
EB0_anger_57.wav\tanger\tJedz inaczej.\tjedz inaczej\t        EB0\tfemale\t27
"""


def test_nemo_joins_its_table_and_trims_its_cells(tmp_path: Path) -> None:
    (tmp_path / "data.tsv").write_text(NEMO, "utf-8")
    for number, name in enumerate(("WR0_surprised_64", "EB0_anger_57", "EB0_anger_58")):
        record(tmp_path / f"samples/{name}.wav", tone(0.5, 200 + number))
    parsed = parse("nemo", tmp_path)
    assert [(r.utterance, r.speaker, r.gender, r.session, r.emotion) for r in parsed.rows] == [
        ("EB0_anger_57", "EB0", "female", "EB0", "angry"),
        ("WR0_surprised_64", "WR0", "male", "WR0", "surprise"),
    ]
    assert [(r.source, r.code) for r in parsed.rejects] == [("samples/TP0_fear_46.wav", "missing")]
    assert reasons(parsed) == {"samples/EB0_anger_58.wav": "not in data.tsv"}
    (tmp_path / "data.tsv").write_text(NEMO.replace("\tanger", "\tangst"), "utf-8")
    with pytest.raises(PipelineError, match=r"data\.tsv: line 4: unknown emotion code 'angst'"):
        parse("nemo", tmp_path)


@pytest.mark.parametrize("parser", ["emodb", "emodb-ambiguous"])
def test_emodb_2_keeps_the_ambiguous_where_they_are_asked_for(tmp_path: Path, parser: str) -> None:
    emodb_2(tmp_path)
    record(tmp_path / "wav/03a01Nc.wav", tone(0.5, 400))
    (tmp_path / "db.emotion.categories.ambiguous.csv").write_text(
        "file,emotion,emotion.confidence\nwav/03a04Ad.wav,fear,0.6\nwav/16b10Wb.wav,anger,0.4\n"
    )
    # The tables of all of them, and of the other signal, are not read.
    (tmp_path / "db.emotion.csv").write_text("file,emotion\nwav/03a01Fa.wav,happiness\n")
    (tmp_path / "db.laryngo.emotion.categories.ambiguous.csv").write_text("broken\n")
    parsed = parse(parser, tmp_path)
    found = {r.utterance: (r.speaker, r.emotion, r.gender) for r in parsed.rows}
    clear = {"03a01Fa": ("03", "happy", "male"), "03a01Nc": ("03", "neutral", "male")}
    doubtful = {"03a04Ad": ("03", "fear", "male")}
    assert found == (clear | doubtful if parser == "emodb-ambiguous" else clear)
    assert Counter(reasons(parsed).values()) == Counter(
        {"a laryngograph's signal": 3}
        | ({} if found.keys() > clear.keys() else {"ambiguous: recognised by fewer than 80 %": 1})
    )
    assert [reject.code for reject in parsed.rejects] == ["missing"]
