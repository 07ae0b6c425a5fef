"""Layouts in miniature, with their known defects, of corpora whose audio is not here."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.corpora import prepare, published
from pipeline.corpora.registry import corpus_of, parse
from pipeline.ground.errors import PipelineError
from tests.corpora.test_accounts import emodb_2
from tests.corpora.test_parsers import reasons
from tests.corpora.test_prepare import PLAIN
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


MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
MELD += "StartTime,EndTime"
MELD_ROWS = {
    "train": [
        '1,"Oh, he’s lost it.",Phoebe,sadness,negative,0,0,8,21,"00:16:16,059","00:16:16,559"',
        '2,Hey!,All,joy,positive,0,1,8,21,"0:16:17,000","0:16:17,500"',
        '3,"""Wanted.""",Dr. Leedbetter,neutral,neutral,0,2,8,21,"0:16:17,000","0:16:17,500"',
        '4,It is me,Joey/Drake,anger,negative,0,3,8,21,"0:16:17,000","0:16:17,500"',
    ],
    "dev": ['1,What?,Monica,surprise,negative,0,0,4,7,"00:20:57,000","00:20:57,500"'],
    "test": [
        '1,Yes,Joey and Ross,disgust,negative,0,0,4,7,"00:20:57,000","00:20:57,500"',
        '2,Why?,Student,fear,negative,38,4,4,7,"00:13:31,060","00:18:36,000"',
        '3,Who?,Ross,fear,negative,38,5,4,7,"00:13:31,060","00:13:31,060"',
        '4,How?,Ross,fear,negative,110,7,4,7,"00:13:31,060","00:13:32,060"',
    ],
}


def make_meld(folder: Path) -> None:
    for part, rows in MELD_ROWS.items():
        table = folder / ("train" if part == "train" else "") / f"{part}_sent_emo.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join([MELD, *rows]) + "\n", "utf-8")
    clips = {
        "train/train_splits": ("0_utt0", "0_utt1", "0_utt2", "0_utt3"),
        "dev_splits_complete": ("0_utt0",),
        "test/output_repeated_splits_test": ("0_utt0", "38_utt4", "38_utt5"),
    }
    for number, (place, names) in enumerate(clips.items()):
        for name in names:
            path = folder / place / f"dia{name}.mp4"
            record(folder / "made.wav", tone(0.5, 100 * number + len(names) + int(name[-1])))
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / "made.wav").rename(path)  # what a file holds decides, not its name


def test_meld_keys_by_part_and_tells_who_speaks(tmp_path: Path) -> None:
    make_meld(tmp_path)
    test = tmp_path / "test/output_repeated_splits_test"
    (test / "final_videos_testdia0_utt0.mp4").write_bytes(b"\0")
    (test / "._dia0_utt0.mp4").write_bytes(b"\0")
    record(tmp_path / "dev_splits_complete/dia0_utt0.wav")
    record(tmp_path / "elsewhere/dia0_utt0.wav")
    parsed = parse("meld", tmp_path)
    assert {
        r.utterance: (r.speaker, r.gender, r.session, r.emotion, r.role) for r in parsed.rows
    } == {
        "train_dia0_utt0": ("Phoebe", "female", "s08e21", "sad", "train"),
        "train_dia0_utt1": ("", "unknown", "s08e21", "happy", "train"),
        "train_dia0_utt2": ("Dr. Ledbetter", "unknown", "s08e21", "neutral", "train"),
        "train_dia0_utt3": ("Joey", "male", "s08e21", "angry", "train"),
        "dev_dia0_utt0": ("Monica", "female", "s04e07", "surprise", "dev"),
        "test_dia0_utt0": ("", "unknown", "s04e07", "disgust", "test"),
    }
    assert [r.length_s for r in parsed.rows] == [pytest.approx(0.5)] * 6
    assert Counter(reasons(parsed).values()) == {
        "a video whose audio is there, too": 1,
        "not named as in MELD, or in no folder of a part": 2,
    }
    assert [(r.source.split("/")[-1], r.code) for r in parsed.rejects] == [
        ("dia38_utt4.mp4", "miscut"),
        ("dia38_utt5.mp4", "miscut"),
        ("test_dia110_utt7", "missing"),
    ]


def test_meld_rejects_what_is_cut_wrongly_and_says_that_its_parts_share_speakers(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw"
    make_meld(raw)
    record(raw / "train/train_splits/dia0_utt0.wav", tone(9.0))
    parsed = parse("meld", raw)
    places = prepare.Places(raw, tmp_path / "clips", tmp_path)
    made = list(prepare.prepare_all(parsed.rows, PLAIN, places, 0))
    assert {p.row.utterance: p.code for p in made if p.code} == {"train_dia0_utt0": "miscut"}
    corpus = corpus_of("meld")
    folds = published.partitions("meld", corpus, parsed.rows)
    published.write(tmp_path, folds, corpus.shared)
    assert published.is_shared(tmp_path)


def test_meld_names_a_time_or_a_table_that_it_cannot_read(tmp_path: Path) -> None:
    make_meld(tmp_path)
    dev = tmp_path / "dev_sent_emo.csv"
    dev.write_text(dev.read_text("utf-8").replace("00:20:57,500", "later"), "utf-8")
    with pytest.raises(PipelineError, match=r"dev_sent_emo\.csv: line 2: EndTime must be like"):
        parse("meld", tmp_path)
    dev.unlink()
    with pytest.raises(PipelineError, match=r"no dev_sent_emo\.csv, add it"):
        parse("meld", tmp_path)
