"""Layouts in miniature, with their known defects, of corpora whose audio is not here."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.corpora import published
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.corpora.registry import corpus_of, parse
from pipeline.ground.errors import PipelineError
from tests.corpora.preparing.test_workers import PLAIN
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
    places = Places(raw, tmp_path / "clips", tmp_path)
    made = list(prepare_all(parsed.rows, PLAIN, places, 0))
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


MSP_HEAD = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
MSP_ROWS = [
    "MSP-PODCAST_0001_0008.wav,N,4.2,4.0,4.1,127,Male,Train",
    "MSP-PODCAST_0002_0033.wav,C,4.2,4.0,4.1,Unknown,Female,Development",
    "MSP-PODCAST_0003_0001_0001.wav,O,4.2,4.0,4.1,9,Female,Test1",
    "MSP-PODCAST_0003_0002.wav,X,4.2,4.0,4.1,9,Female,Test2",
    "MSP-PODCAST_1909_1017.wav,H,4.2,4.0,4.1,9,Female,Train",  # missing from 2.0
]


def make_msp(folder: Path, spelling: str = "Labels/labels_consensus.csv") -> None:
    names = [row.split(",")[0] for row in MSP_ROWS[:-1]]
    for name in (*names, "MSP-PODCAST_0009_0001.wav", "jingle.wav"):
        record(folder / f"Audios/{name}")
    labels = folder / spelling
    labels.parent.mkdir(parents=True)
    if labels.suffix == ".csv":
        labels.write_text("\n".join([MSP_HEAD, *MSP_ROWS]) + "\n")
    else:
        cells = [dict(zip(MSP_HEAD.split(","), row.split(","), strict=True)) for row in MSP_ROWS]
        labels.write_text(json.dumps({one.pop("FileName"): one for one in cells}))
    old = folder / "Previous_releases_information/v1.8/labels_consensus.csv"
    old.parent.mkdir(parents=True)
    old.write_text(f"{MSP_HEAD}\nMSP-PODCAST_0001_0008.wav,A,1,1,1,127,Male,Validation\n")
    (folder / "Partitions.txt").write_text(
        "Train; MSP-PODCAST_0001_0008.wav\n\nTest3; MSP-PODCAST_0009_0001.wav\n"
    )
    (folder / "Speaker_ids.txt").write_text(
        "Speaker_127; Male\nSpeaker_31; Female\nMSP-PODCAST_0009_0001.wav;31\n"
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "Labels/labels_consensus.csv",
        "labels/labels_concensus.csv",
        "label/labels_concensus.json",
        "Labels/labels_consensus.json",
    ],
)
def test_msp_podcast_in_every_spelling(tmp_path: Path, spelling: str) -> None:
    make_msp(tmp_path, spelling)
    parsed = parse("msp-podcast", tmp_path)
    assert {
        r.utterance.removeprefix("MSP-PODCAST_"): (
            r.speaker, r.gender, r.session, r.emotion, r.role, dict(r.shares),
        )
        for r in parsed.rows
    } == {
        "0001_0008": ("127", "male", "0001", "neutral", "train", {}),
        "0002_0033": ("", "female", "0002", "contempt", "dev", {}),
        "0003_0001_0001": ("9", "female", "0003", "other", "test", {}),
        "0003_0002": ("9", "female", "0003", "", "test", {}),  # no agreement, but dimensions
        # Without label: it is kept to be predicted.
        "0009_0001": ("31", "female", "0009", "", "unlabelled", {}),
    }  # fmt: skip
    assert reasons(parsed) == {
        "Audios/jingle.wav": "not named as in MSP-Podcast",
    }
    assert [(r.source, r.code) for r in parsed.rejects] == [
        ("Audios/MSP-PODCAST_1909_1017.wav", "missing")
    ]
    dimensions = {r.utterance[-9:]: dict(r.dimensions) for r in parsed.rows}
    assert dimensions["0001_0008"] == {"arousal": 4.2, "valence": 4.0, "dominance": 4.1}
    assert dimensions["0009_0001"] == {}  # of Test3
    assert parsed.warnings == ["speaker 'Unknown' names no one and is taken as unknown"]


DETAILED = {
    "1.6": (
        "FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom",
        '{0},WORKER{1},{2},"Happy,Excited",6,5,5',
    ),
    "1.6, index": (
        ",Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom",
        '{0},WORKER{1},{2},"Happy,Excited",6,5,5',
    ),
    "1.12": (
        "FileName,EmoDetail",
        '{0},"WORKER{1}; {2}; Happy,Excited; A:6.000000; V:5.000000; D:5.000000;"',
    ),
    "1.12, no second": ("FileName,EmoDetail", '{0},"WORKER{1}; {2}; A:6.0; V:5.0; D:5.0;"'),
    "2.0": (
        "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom",
        '{0},WORKER{1},{2},"Happy,Excited",6,5,5',
    ),
}


@pytest.mark.parametrize(("head", "row"), DETAILED.values(), ids=DETAILED)
def test_msp_podcast_counts_the_raters_of_every_form(tmp_path: Path, head: str, row: str) -> None:
    make_msp(tmp_path)
    chosen = {
        "MSP-PODCAST_0001_0008.wav": ["Neutral", "Neutral", "Happy", "Other-Dissapointed"],
        "MSP-PODCAST_0003_0002.wav": ["Angry", "Sad"],  # no agreement, but shares
        "MSP-PODCAST_0009_0001.wav": ["Angry"],  # of Test3 none may be learnt
        "MSP-PODCAST_0007_0007.wav": ["Angry"],
    }
    rows = [
        row.format(name, number, emotion)
        for name, emotions in chosen.items()
        for number, emotion in enumerate(emotions)
    ]
    (tmp_path / "Labels/labels_detailed.csv").write_text("\n".join([head, *rows]) + "\n")
    parsed = parse("msp-podcast", tmp_path)
    found = {
        r.utterance.removeprefix("MSP-PODCAST_"): (
            r.emotion,
            {emotion: share for emotion, share in r.shares.items() if share},
            len(r.shares),
        )
        for r in parsed.rows
    }
    votes = {r.utterance[-9:]: {e: n for e, n in r.votes.items() if n} for r in parsed.rows}
    assert votes["0001_0008"] == {"neutral": 2, "happy": 1, "other": 1}
    assert votes["0009_0001"] == {}
    second = {r.utterance[-9:]: dict(r.votes2) for r in parsed.rows}
    named = {} if "Second" not in head and "Excited" not in row else {"excited": 4, "happy": 4}
    assert (second["0001_0008"], second["0009_0001"]) == (named, {})
    assert found == {
        "0001_0008": ("neutral", {"neutral": 0.5, "happy": 0.25}, 8),
        "0002_0033": ("contempt", {}, 0),
        "0003_0001_0001": ("other", {}, 0),
        "0003_0002": ("", {"angry": 0.5, "sad": 0.5}, 8),
        "0009_0001": ("", {}, 0),
    }
    assert {r.source.split("_", 1)[1] for r in parsed.rejects} == {"0007_0007.wav", "1909_1017.wav"}


def test_msp_podcast_second_choices_are_those_of_a_list(tmp_path: Path) -> None:
    """Each once a rater; what raters wrote themselves is another emotion."""
    make_msp(tmp_path)
    cells = ["Happy,happy, Excited", "Other-so, and so", "Dissapointed", "", "Disappointed,Neutral"]
    rows = [f'MSP-PODCAST_0001_0008.wav,W{n},Neutral,"{c}",1,1,1' for n, c in enumerate(cells)]
    head = "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom"
    (tmp_path / "Labels/labels_detailed.csv").write_text("\n".join([head, *rows]) + "\n")
    row = next(r for r in parse("msp-podcast", tmp_path).rows if r.source.endswith("0001_0008.wav"))
    assert row.votes["neutral"] == 5
    assert row.votes2 == {
        **{"disappointed": 2, "excited": 1, "happy": 1},
        **{"neutral": 1, "other": 1},
    }


def test_msp_podcast_counts_raters_in_json(tmp_path: Path) -> None:
    make_msp(tmp_path)
    raters = {f"WORKER{n}": {"EmoClass_Major": e} for n, e in enumerate(["Happy", "Other-(so)"])}
    path = tmp_path / "Labels/labels_detailed.json"
    path.write_text(json.dumps({"MSP-PODCAST_0001_0008.wav": raters}))
    row = next(r for r in parse("msp-podcast", tmp_path).rows if r.source.endswith("0001_0008.wav"))
    assert (row.shares["happy"], sum(row.shares.values())) == (0.5, 0.5)
    for broken in ("[]", "{", '{"a": 1}'):
        path.write_text(broken)
        with pytest.raises(PipelineError, match=r"labels_detailed\.json: not JSON"):
            parse("msp-podcast", tmp_path)


def test_msp_podcast_takes_parts_and_speakers_from_their_lists(tmp_path: Path) -> None:
    make_msp(tmp_path)
    labels = tmp_path / "Labels/labels_consensus.csv"
    labels.write_text("FileName,EmoClass\nMSP-PODCAST_0001_0008.wav,H\n")
    (tmp_path / "Partitions.txt").rename(tmp_path / "Partition.txt")
    with (tmp_path / "Partition.txt").open("a") as file:
        file.write("Validation; MSP-PODCAST_0002_0033.wav\n")
    with (tmp_path / "Speaker_ids.txt").open("a") as file:
        file.write("MSP-PODCAST_0001_0008.wav;127\n")
    parsed = parse("msp-podcast", tmp_path)
    assert [(r.speaker, r.gender, r.emotion, r.role) for r in parsed.rows] == [
        ("127", "male", "happy", "train"),
        ("31", "female", "", "unlabelled"),
    ]
    assert [(r.source[-8:], r.code) for r in parsed.rejects] == [("0033.wav", "unlabelled")]


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("Labels/labels_consensus.csv", ",N,", ",Q,", "line 2: unknown emotion code 'Q'"),
        ("Labels/labels_consensus.csv", "Test1", "Test9", "line 4: unknown split code 'test9'"),
        ("Partitions.txt", "Train; ", "Train ", "line 1: expected two parts"),
        ("Labels/labels_consensus.csv", "EmoClass", "Class", "missing column 'EmoClass'"),
    ],
)
def test_msp_podcast_names_what_it_cannot_read(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    make_msp(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(PipelineError) as caught:
        parse("msp-podcast", tmp_path)
    assert told in str(caught.value)


def test_mead_reads_paths_since_names_repeat(tmp_path: Path) -> None:
    files = [
        "MEAD/M003/audio/surprised/level_3/001.m4a",
        "MEAD/M003/audio/neutral/level_1/001.m4a",
        "W009/audio/disgusted/level_2/001.wav",
        "W009/audio/notes/001.wav",
        "W009/audio/sad/level_2/take.wav",
        "W009/video/front/sad/level_2/001.mp4",
    ]
    for number, name in enumerate(files):
        record(tmp_path / "made.wav", tone(0.5, 200 + number))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made.wav").rename(tmp_path / name)
    parsed = parse("mead", tmp_path)
    assert [(r.utterance, r.speaker, r.gender, r.emotion, r.intensity) for r in parsed.rows] == [
        ("M003_neutral_level_1_001", "M003", "male", "neutral", "1"),
        ("M003_surprised_level_3_001", "M003", "male", "surprise", "3"),
        ("W009_disgusted_level_2_001", "W009", "female", "disgust", "2"),
    ]
    assert set(reasons(parsed)) == {files[3], files[4]}
    record(tmp_path / "W009/audio/bored/level_1/001.wav")
    with pytest.raises(PipelineError, match="unknown emotion code 'bored', known: angry, contempt"):
        parse("mead", tmp_path)
