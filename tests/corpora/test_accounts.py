"""Of every corpus: each audio file and each label row is in one list, and the counts add up."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from pipeline.corpora import audit, registry
from pipeline.corpora.entries import OutOfScope, Reject, Row
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.ground.errors import PipelineError
from tests.corpora.preparing.test_workers import PLAIN
from tests.recordings import record, tone

SILENCE = np.zeros(8_000, np.float32)


def named(*names: str) -> Callable[[Path], int]:
    """A corpus whose file names say everything: no label rows; the second file is silent."""

    def make(folder: Path) -> int:
        for name in names:
            record(folder / f"wav/{name}.wav")
        record(folder / f"wav/{names[1]}.wav", SILENCE)
        return 0

    return make


def table(folder: Path) -> int:
    for name in ("a", "talk", "other", "one", "two", "mute", "bare"):
        record(folder / f"wav/{name}.wav", tone(3.0, 200 + len(name) * ord(name[0])))
    record(folder / "wav/mute.wav", SILENCE)
    shutil.copy(folder / "wav/one.wav", folder / "wav/one.flac")
    shutil.copy(folder / "wav/two.wav", folder / "wav/deux.wav")
    shutil.copy(folder / "wav/a.wav", folder / "wav/a.flac")
    rows = [
        "wav/a.wav,sad,s1,,", "wav/a.flac,sad,s1,,",  # a copy
        "wav/talk.wav,sad,s1,0,1", "wav/talk.wav,sad,s1,0,2", "wav/talk.wav,happy,s2,0,",
        "wav/talk.wav,happy,s2,1.0000001,2", "wav/talk.wav,happy,s2,1.0000002,2",
        "wav/talk.wav,happy,s2,9,10",  # outside
        "wav/one.wav,sad,s1,,", "wav/one.flac,happy,s1,,",  # one name, equal bytes, two labels
        "wav/two.wav,sad,s1,,", "wav/deux.wav,happy,s1,,",  # two names
        "wav/mute.wav,sad,s1,,", "wav/bare.wav,,s1,,", "wav/none.wav,sad,s1,,",
        "wav/gone.wav,sad,s1,,", "wav/bad\u00e9.wav,sad,s1,,",
    ]  # fmt: skip
    (folder / "labels.csv").write_text("\n".join(["path,emotion,speaker,start,end", *rows]) + "\n")
    return len(rows)


def iemocap(folder: Path) -> int:
    lines = [
        f"[1.0 - 2.0]\tSes01F_impro01_{name}\t{code}\t[2.5, 2.5, 2.5]"
        for name, code in [("F000", "ang"), ("F001", "xxx"), ("M000", "sad"), ("M009", "hap")]
    ]
    session = folder / "Session1"
    rated = session / "dialog/EmoEvaluation/Ses01F_impro01.txt"
    rated.parent.mkdir(parents=True)
    rated.write_bytes("\r\n".join(["% caf\u00e9", *lines, "C-E1:\tcaf\u00e9"]).encode("latin-1"))
    for name in ("F000", "F001", "M000", "M011"):
        record(session / f"sentences/wav/Ses01F_impro01/Ses01F_impro01_{name}.wav")
    record(session / "sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav", SILENCE)
    record(session / "dialog/wav/Ses01F_impro01.wav")
    shutil.copytree(session, folder / "second/Session1")
    return 2 * len(lines)


def emotion_share(folder: Path) -> int:
    (folder / "lab").mkdir()
    for part, names in {"train": "abx", "devel": "c", "test": "de"}.items():
        rows = [f"{name}.wav,0.5" for name in names]
        (folder / f"lab/{part}.csv").write_text("\n".join(["filename,Joy", *rows]) + "\n")
    for name in "abcdy":
        record(folder / f"wav/{name}.wav")
    record(folder / "wav/b.wav", SILENCE)
    return 6


def esd(folder: Path) -> int:
    for number, name in enumerate(("0001_000351", "0001_000352")):
        record(folder / f"0001/Angry/{name}.wav", tone(0.5, 200 + number))
    record(folder / "0001/Angry/0001_000352.wav", SILENCE)
    return 0


def nemo(folder: Path) -> int:
    names = ["EB0_anger_1", "EB0_anger_2", "EB0_anger_3", "EB0_anger_3"]  # a row twice, no audio
    for name in names[:2]:
        record(folder / f"samples/{name}.wav")
    record(folder / "samples/EB0_anger_2.wav", SILENCE)
    rows = [f"{name}.wav\tanger\t        EB0\tfemale" for name in names]
    (folder / "data.tsv").write_text(
        "\n".join(["file_id\temotion\tspeaker_id\tgender", *rows]) + "\n"
    )
    return len(names)


def emodb_2(folder: Path) -> int:
    for number, name in enumerate(("03a01Fa", "03a01Nc", "03a04Ad")):
        record(folder / f"wav/{name}.wav", tone(0.5, 200 + number))
        record(folder / f"laryngo/{name}.wav", tone(0.5, 300 + number))
    record(folder / "wav/03a01Nc.wav", SILENCE)
    rows = ["wav/03a04Ad.wav,fear,0.6,0.5", "wav/03a01Nc.wav,,,", "wav/16b10Wb.wav,anger,,"]
    (folder / "db.emotion.categories.ambiguous.csv").write_text(
        "\n".join(["file,emotion,emotion.confidence,emotion.naturalness", *rows]) + "\n"
    )
    return len(rows)


def meld(folder: Path) -> int:
    head = "Speaker,Emotion,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    tail = '4,7,"00:20:57,000","00:20:57,500"'
    for part, numbers in {"train": (0, 1, 9, 9), "dev": (0,), "test": (0, 7)}.items():
        rows = [f"Ross,joy,0,{n},{tail}" for n in numbers]
        (folder / f"{part}_sent_emo.csv").write_text("\n".join([head, *rows]) + "\n")
    where = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "test/test"}
    for part, number in (("train", 0), ("train", 1), ("train", 5), ("dev", 0), ("test", 0)):
        path = folder / where[part] / f"dia0_utt{number}.wav"
        record(path, tone(0.5, 100 + 10 * number + len(path.as_posix())))
    record(folder / "train/train_splits/dia0_utt1.wav", SILENCE)
    shutil.copy(
        folder / "train/train_splits/dia0_utt0.wav", folder / "test/final_testdia0_utt0.wav"
    )
    return 7


def msp_podcast(folder: Path) -> int:
    names = [f"MSP-PODCAST_0001_000{n}.wav" for n in range(7)]
    for name in names[:6]:
        record(folder / f"Audios/{name}")
    record(folder / f"Audios/{names[1]}", SILENCE)
    labels = folder / "Labels/labels_consensus.csv"
    labels.parent.mkdir()
    rows = [(0, "A", "Train"), (1, "S", "Test1"), (2, "X", "Train"), (6, "H", "Train")]
    held = [f"{names[n]},{code},4,4,4,12,Female,{part}" for n, code, part in rows]
    head = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    labels.write_text("\n".join([head, *held]) + "\n")
    # One that is rated alone, one that is in no list at all; Test3 is in the partitions alone.
    (labels.parent / "labels_detailed.csv").write_text(
        f'FileName,EmoDetail\n{names[0]},"WORKER1; Angry; A:1; V:1; D:1;"\n'
        f'{names[4]},"WORKER1; Angry; A:1; V:1; D:1;"\n'
    )
    (folder / "Partitions.txt").write_text(f"Train; {names[0]}\nTest3; {names[3]}\n")
    return 6


def mead(folder: Path) -> int:
    for actor in ("M003", "W009"):
        record(folder / f"{actor}/audio/angry/level_1/001.wav", tone(0.5, 200 + ord(actor[0])))
    record(folder / "W009/audio/angry/level_1/001.wav", SILENCE)
    return 0


def audformat_database(folder: Path) -> int:
    import audformat

    names = ("a", "b", "c", "d", "gone", "none")
    for number, name in enumerate(names[:4]):
        record(folder / f"wav/{name}.wav", tone(0.5, 200 + number))
    record(folder / "wav/b.wav", SILENCE)
    database = audformat.Database("mini")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "neutral"])
    index = audformat.filewise_index([f"wav/{name}.wav" for name in names])
    table = database["emotion"] = audformat.Table(index)
    table["emotion"] = audformat.Column(scheme_id="emotion")
    table["emotion"].set(["anger", "anger", None, "neutral", "anger", "anger"])
    database.save(str(folder), storage_format="csv")
    return len(names)


LAYOUTS = {
    "audformat": audformat_database,
    "mead": mead,
    "msp-podcast": msp_podcast,
    "meld": meld,
    "esd": esd,
    "nemo": nemo,
    "emodb": named("03a01Fa", "03a01Nc"),
    "emodb-ambiguous": emodb_2,
    "ravdess": named("03-01-05-01-01-01-01", "03-01-05-01-01-01-02", "03-02-05-01-01-01-01"),
    "crema-d": named("1001_DFA_ANG_XX", "1002_DFA_ANG_XX"),
    "tess": named("OAF_back_sad", "YAF_back_sad"),
    "savee": named("DC_a01", "JE_a01"),
    "iemocap": iemocap,
    "emotion-share": emotion_share,
    "table": table,
    "demo": table,
}


def make(name: str, folder: Path) -> tuple[set[str], int]:
    """A corpus with what goes wrong in every one; its audio files and the count of label rows."""
    rows = LAYOUTS[name](folder)
    record(folder / "wav/stray.wav")
    record(folder / "wav/.hidden.wav")
    for link in ("gone", "lost"):
        (folder / f"wav/{link}.wav").symlink_to("nowhere")
    shutil.copy(folder / "wav/stray.wav", folder / "wav/bad\udce9.wav")
    first = min(folder.rglob("[0-9A-Za-z]*.wav"))
    copy = folder / "again" / first.relative_to(folder)
    copy.parent.mkdir(parents=True)
    if name not in ("table", "demo", "iemocap"):
        shutil.copy(first, copy)
    suffixes = (".wav", ".flac")
    audio = [p for p in folder.rglob("*") if p.suffix in suffixes and not p.name.startswith(".")]
    shown = (p.relative_to(folder).as_posix().replace("\udce9", "\\udce9") for p in audio)
    return set(shown), rows


@pytest.mark.parametrize("name", get_args(registry.Parser))
def test_each_file_and_label_row_is_in_one_list(name: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    audio, rows = make(name, raw)
    parsed = registry.parse(name, raw)
    places = Places(raw, tmp_path / "clips", tmp_path)
    outcome = audit.settle(parsed, list(prepare_all(parsed.rows, PLAIN, places, 0)))
    lists: dict[str, Sequence[Row | Reject | OutOfScope]] = {
        "kept": [p.row for p in outcome.kept],
        "rejected": outcome.rejects,
        "out_of_scope": outcome.parsed.out_of_scope,
    }
    labels = Counter(label for made in lists.values() for label in {e.label for e in made} - {""})
    assert set(labels.values()) <= {1}
    assert len(labels) == rows
    # One long file has rows that are kept and one that lies outside it.
    counts = Counter(
        source
        for made in lists.values()
        for source in {
            e.source for e in made if getattr(e, "code", "") not in ("missing", "outside")
        }
    )
    assert dict.fromkeys(audio, 1) == counts
    report = audit.report(name, registry.corpus_of(name), outcome)
    for told, found in (("files", len(audio)), ("label_rows", rows)):
        held = report[told]
        assert held["found"] == found == held["kept"] + held["rejected"] + held["out_of_scope"]
    assert report["found"] == sum(map(len, lists.values()))


def test_labels_that_contradict_each_other_are_rejected_whatever_the_files_are_called(
    tmp_path: Path,
) -> None:
    table(tmp_path)
    (tmp_path / "wav/gone.wav").symlink_to("nowhere")
    rejects = registry.parse("table", tmp_path).rejects
    assert {r.source for r in rejects if r.code == "contradiction"} == {
        "wav/one.flac",
        "wav/one.wav",
    }


def test_rows_of_one_start_are_named_by_their_ends(tmp_path: Path) -> None:
    table(tmp_path)
    rows = registry.parse("table", tmp_path).rows
    talk = {row.utterance: (row.speaker, row.end_s) for row in rows if "talk" in row.source}
    assert talk == {
        "wav/talk@0-1": ("s1", 1.0),
        "wav/talk@0-2": ("s1", 2.0),
        "wav/talk@0": ("s2", None),
        "wav/talk@1.0000001": ("s2", 2.0),
        "wav/talk@1.0000002": ("s2", 2.0),
        "wav/talk@9": ("s2", 10.0),
    }


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("iemocap", "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"),
        ("emotion-share", "wav/a.wav"),
        ("emodb", "wav/03a01Fa.wav"),
    ],
)
def test_other_audio_under_a_name_that_is_taken_stops(name: str, file: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path)
    record(tmp_path / "denoised" / file, tone(0.5, 3_000))
    with pytest.raises(PipelineError) as caught:
        registry.parse(name, tmp_path)
    assert f"denoised/{file}" in str(caught.value)
    assert "differ but share the utterance name" in str(caught.value)


def test_a_file_that_two_rows_rate_stops_and_names_both(tmp_path: Path) -> None:
    emotion_share(tmp_path)
    (tmp_path / "lab/devel.csv").write_text("filename,Joy\na.wav,0.25\n")
    with pytest.raises(
        PipelineError, match=r"listed twice .*train.csv: line 2; .*devel.csv: line 2"
    ):
        registry.parse("emotion-share", tmp_path)


def test_a_rating_that_cannot_be_read_stops(tmp_path: Path) -> None:
    iemocap(tmp_path)
    rated = tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    rated.write_bytes(rated.read_bytes().replace(b"F001\txxx", b"F001 xxx"))
    with pytest.raises(PipelineError, match=r"Ses01F_impro01.txt: line 3: not \[start - end\]"):
        registry.parse("iemocap", tmp_path)
