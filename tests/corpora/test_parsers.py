"""Every corpus' layout in miniature with its known defects, and two real ones in full."""

import shutil
import unicodedata
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from pipeline.corpora import registry
from pipeline.corpora.entries import Row
from pipeline.corpora.registry import Parsed, Parser, corpus_of
from pipeline.ground.errors import PipelineError
from tests.recordings import labelled, record, tone

ALL = {name: corpus_of(name) for name in get_args(Parser)}


def parse(parser: str, folder: Path) -> Parsed:
    return registry.parse(parser, folder)


def by_source(parsed: Parsed) -> dict[str, Row]:
    return {row.source: row for row in parsed.rows}


def reasons(parsed: Parsed) -> dict[str, str]:
    return {entry.source: entry.reason for entry in parsed.out_of_scope}


@pytest.mark.parametrize(("name", "files"), [("emodb", 535), ("ravdess", 1440)])
def test_real_corpora_have_their_published_counts(
    corpora_root: Path, name: str, files: int
) -> None:
    parsed = parse(name, corpora_root / name)
    assert (len(parsed.rows), parsed.rejects, parsed.out_of_scope) == (files, [], [])
    for column, published in corpus_of(name).counts.items():
        assert Counter(getattr(row, column) for row in parsed.rows) == published, column


def test_emodb_genders(corpora_root: Path) -> None:
    rows = parse("emodb", corpora_root / "emodb").rows
    women = {row.speaker for row in rows if row.gender == "female"}
    men = {row.speaker for row in rows if row.gender == "male"}
    assert women == {"08", "09", "13", "14", "16"}
    assert men == {"03", "10", "11", "12", "15"}


@pytest.mark.parametrize(("name", "folds"), [("ravdess", 6), ("savee", 4)])
def test_emobox_tests_every_speaker_once(name: str, folds: int) -> None:
    tests = [fold["test"] for fold in corpus_of(name).folds[:folds]]
    assert sorted(speaker for test in tests for speaker in test) == sorted(
        corpus_of(name).counts["speaker"]
    )
    assert len({len(test) for test in tests}) == 1


@pytest.mark.parametrize("name", ["emodb", "ravdess", "savee"])
def test_published_folds_name_real_speakers_once(name: str) -> None:
    for fold in corpus_of(name).folds:
        named = [speaker for speakers in fold.values() for speaker in speakers]
        assert len(named) == len(set(named))
        assert set(named) <= set(corpus_of(name).counts["speaker"])


def test_the_published_counts_of_each_corpus_agree_with_each_other() -> None:
    for name, corpus in ALL.items():
        totals = {sum(counts.values()) for counts in corpus.counts.values()}
        assert len(totals) <= 1, name
    assert {
        name: sum(next(iter(corpus.counts.values())).values())
        for name, corpus in ALL.items()
        if corpus.counts
    } == {
        "ravdess": 1440,
        "crema-d": 7442,
        "tess": 2800,
        "savee": 480,
        "iemocap": 5_531,  # of the emotions that the literature evaluates
        "emodb": 535,
        "emotion-share": 31_745 + 9_925 + 10_143,
        "esd": 35_000,
        "nemo": 4_481,
        "meld": 13_708,
    }


def test_ravdess_leaves_out_videos_songs_and_nested_copies(tmp_path: Path) -> None:
    spoken = record(tmp_path / "Actor_07/03-01-05-02-01-01-07.wav")
    record(tmp_path / "Actor_08/03-01-01-01-01-01-08.wav")
    record(tmp_path / "Video_Speech_Actor_07/01-01-05-02-01-01-07.wav")
    record(tmp_path / "Audio_Song_Actor_07/03-02-05-02-01-01-07.wav")
    record(tmp_path / "Actor_07/notes.wav")
    copy = tmp_path / "audio_speech_actors_01-24/Actor_07" / spoken.name
    copy.parent.mkdir(parents=True)
    shutil.copy(spoken, copy)
    parsed = parse("ravdess", tmp_path)
    rows = by_source(parsed)
    assert set(rows) == {"Actor_07/03-01-05-02-01-01-07.wav", "Actor_08/03-01-01-01-01-01-08.wav"}
    row = rows["Actor_07/03-01-05-02-01-01-07.wav"]
    assert (row.emotion, row.intensity, row.gender, row.speaker) == (
        "angry",
        "strong",
        "male",
        "07",
    )
    assert rows["Actor_08/03-01-01-01-01-01-08.wav"].gender == "female"
    assert Counter(reasons(parsed).values()) == {
        "the audio of a video": 1,
        "song": 1,
        "not named as in RAVDESS": 1,
        "a copy under the same name": 1,
    }


TABULATED = """"","A","D","F","H","N","S","fileName","numResponses","agreement"
"100001",5,1,0,0,2,1,"1001_DFA_ANG_XX",9,0.55
"200001",0,0,0,9,0,0,"1001_DFA_ANG_XX",9,1
"""
RESPONSES = """"","localid","queryType","clipName","respEmo"
"1","a",1,"1001_DFA_ANG_XX","A"
"2","a",1,"1001_DFA_ANG_XX","N"
"3","a",2,"1001_DFA_ANG_XX","H"
"137526","a",1,"1001_DFA_ANG_XX","A"
"""


@pytest.mark.parametrize(
    ("name", "text", "votes"),
    [
        (
            "processedResults/tabulatedVotes.csv",
            TABULATED,
            {"angry": 5, "disgust": 1, "neutral": 2, "sad": 1},
        ),
        ("finishedResponses.csv", RESPONSES, {"angry": 1, "neutral": 1}),
    ],
)
def test_crema_d_has_the_votes_on_the_voice_alone(
    tmp_path: Path, name: str, text: str, votes: dict[str, float]
) -> None:
    for clip in ("1001_DFA_ANG_XX", "1002_DFA_SAD_XX"):
        record(tmp_path / f"AudioWAV/{clip}.wav")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    found = {row.utterance: row.votes for row in parse("crema-d", tmp_path).rows}
    assert found == {"1001_DFA_ANG_XX": votes, "1002_DFA_SAD_XX": {}}


def test_crema_d_joins_genders_and_takes_old_names(tmp_path: Path) -> None:
    for name in ("1001_DFA_ANG_XX", "1002_IEO_SAD_HI", "1040_ITH_SAD_X", "1091_WSI_NEU_XX"):
        record(tmp_path / f"AudioWAV/{name}.wav")
    record(tmp_path / "AudioMP3/1001_DFA_ANG_XX.mp3", tone(0.5), 16_000)
    (tmp_path / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
        "1002,21,Female,Caucasian,Not Hispanic\n1040,30,Female,Asian,Not Hispanic\n"
    )
    parsed = parse("crema-d", tmp_path)
    found = {row.utterance: (row.gender, row.emotion, row.intensity) for row in parsed.rows}
    assert found == {
        "1001_DFA_ANG_XX": ("male", "angry", ""),
        "1002_IEO_SAD_HI": ("female", "sad", "high"),
        "1040_ITH_SAD_X": ("female", "sad", ""),
        "1091_WSI_NEU_XX": ("unknown", "neutral", ""),
    }
    assert list(reasons(parsed).values()) == ["an MP3 twin of the WAV file"]


def test_tess_reads_names_whatever_the_folders_say(tmp_path: Path) -> None:
    record(tmp_path / "OAF_Fear/OAF_food_fear.wav", tone(0.5, rate_hz=96_000), 96_000)
    record(tmp_path / "OAF_Pleasant_surprise/OAF_back_ps.wav")
    record(tmp_path / "YAF_pleasant_surprised/YAF_back_pleasant_surprised.wav", format="AIFF")
    record(tmp_path / "OAF_neutral/OA_bite_neutral.wav")
    nested = tmp_path / "TESS Toronto emotional speech set data"
    shutil.copytree(tmp_path, nested, ignore=shutil.ignore_patterns("TESS*"))
    parsed = parse("tess", tmp_path)
    assert {(row.utterance, row.speaker, row.emotion) for row in parsed.rows} == {
        ("OAF_food_fear", "OAF", "fear"),
        ("OAF_back_ps", "OAF", "surprise"),
        ("YAF_back_ps", "YAF", "surprise"),
        ("OAF_bite_neutral", "OAF", "neutral"),
    }
    assert {row.gender for row in parsed.rows} == {"female"}
    assert list(reasons(parsed).values()) == ["a copy under the same name"] * 4


@pytest.mark.parametrize("layout", ["AudioData/{0}/{1}.wav", "ALL/{0}_{1}.wav"])
def test_savee_in_both_layouts(tmp_path: Path, layout: str) -> None:
    for speaker, name in [("DC", "a01"), ("DC", "sa01"), ("JE", "su15"), ("KL", "n30")]:
        record(tmp_path / layout.format(speaker, name), tone(0.5, 100 + len(name + speaker)))
    record(tmp_path / "AudioData/notes/a01.wav")
    parsed = parse("savee", tmp_path)
    assert {(r.utterance, r.speaker, r.emotion, r.gender) for r in parsed.rows} == {
        ("DC_a01", "DC", "angry", "male"),
        ("DC_sa01", "DC", "sad", "male"),
        ("JE_su15", "JE", "surprise", "male"),
        ("KL_n30", "KL", "neutral", "male"),
    }
    assert reasons(parsed) == {"AudioData/notes/a01.wav": "not named as in SAVEE"}


IEMOCAP = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes03M_impro05a_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t(a bit)
C-E4:\tOther;\t(tired)
C-M1:\tHappiness;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes03M_impro05a_M001\texc\t[2.5000, 2.5000, 2.5000]
[14.8872 - 18.0175]\tSes03M_impro05a_F002\txxx\t[2.5000, 2.5000, 2.5000]
[19.0000 - 20.0000]\tSes03M_impro05a_MXX0\txxx\t[2.5000, 2.5000, 2.5000]
[21.0000 - 22.0000]\tSes03M_impro05a_F003\tang\t[2.5000, 2.5000, 2.5000]
"""


def make_iemocap(folder: Path, ratings: str = IEMOCAP) -> None:
    session = folder / "Session3"
    text = session / "dialog/EmoEvaluation/Ses03M_impro05a.txt"
    text.parent.mkdir(parents=True)
    text.write_text(ratings)
    (text.parent / "Categorical").mkdir()
    (text.parent / "Categorical/Ses03M_impro05a_e2_cat.txt").write_text("Ses03M :Neutral; ()\n")
    (text.parent / "._Ses03M_impro05a.txt").write_bytes(b"\x00\x05\x16\x07")
    for name in ("F000", "M001", "F002", "F009"):
        record(session / f"sentences/wav/Ses03M_impro05a/Ses03M_impro05a_{name}.wav")
    record(session / "dialog/wav/Ses03M_impro05a.wav")


def test_iemocap_takes_the_speaking_actor_from_the_last_token(tmp_path: Path) -> None:
    make_iemocap(tmp_path, IEMOCAP.replace("MXX0\txxx", "M010\tfru"))
    parsed = parse("iemocap", tmp_path)
    found = {r.utterance[-4:]: (r.speaker, r.gender, r.session, r.emotion) for r in parsed.rows}
    # Both are of a dialog whose own letter is M.
    assert found == {
        "F000": ("Ses03F", "female", "3", "neutral"),
        "M001": ("Ses03M", "male", "3", "excited"),
        "F002": ("Ses03F", "female", "3", ""),  # no agreement, but dimensions
    }
    assert Counter(reasons(parsed).values()) == {
        "not in EmoEvaluation": 1,
        "not a sentence (a whole dialog)": 1,
    }
    assert [reject.code for reject in parsed.rejects] == ["missing", "missing"]


def test_iemocap_has_its_raters_and_their_means(tmp_path: Path) -> None:
    make_iemocap(
        tmp_path, IEMOCAP.replace("MXX0\txxx", "M010\tfru").replace("2.5000, ", "1.5, ", 1)
    )
    rows = {row.utterance[-4:]: row for row in parse("iemocap", tmp_path).rows}
    # [valence, activation, dominance]; the actor's own C-M1 is no rater.
    assert rows["F000"].dimensions == {"valence": 1.5, "arousal": 2.5, "dominance": 2.5}
    assert rows["F000"].votes == {"neutral": 2, "angry": 1, "other": 1}
    assert rows["M001"].votes == {}


def test_iemocap_refuses_ids_that_it_cannot_read(tmp_path: Path) -> None:
    make_iemocap(tmp_path)
    with pytest.raises(PipelineError, match="Ses03M_impro05a_MXX0"):
        parse("iemocap", tmp_path)


def test_emotion_share_joins_by_file_name_not_by_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c", "d", "e"):
        record(tmp_path / f"wav/{name}.wav")
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "train.csv").write_text("filename,Anger,Joy\nb.wav,0.25,1.0\na.wav,0.0,0.5\n")
    (lab / "devel.csv").write_text("filename,Anger,Joy\nc.wav,1,0\nmissing.wav,1,0\n")
    (lab / "test.csv").write_text("filename,Anger,Joy\nd.wav,?,?\n")
    parsed = parse("emotion-share", tmp_path)
    assert {r.utterance: (r.role, dict(r.shares)) for r in parsed.rows} == {
        "a": ("train", {"anger": 0.0, "joy": 0.5}),
        "b": ("train", {"anger": 0.25, "joy": 1.0}),
        "c": ("test", {"anger": 1.0, "joy": 0.0}),
        "d": ("test", {}),
    }
    assert reasons(parsed) == {"wav/e.wav": "in no file under lab"}
    assert [(r.source, r.code) for r in parsed.rejects] == [("wav/missing.wav", "missing")]
    for masked in ("b.wav,?,?\na.wav,0.0,0.5\n", "b.wav,0.25,\na.wav,0.0,0.5\n"):
        (lab / "train.csv").write_text(f"filename,Anger,Joy\n{masked}")
        with pytest.raises(PipelineError, match=r"train\.csv: line 2"):
            parse("emotion-share", tmp_path)


def test_a_table_says_everything_about_a_corpus(tmp_path: Path) -> None:
    header = "\ufeffpath,emotion,speaker,gender,session,language,split,start,end,share_joy,age"
    labelled(
        tmp_path,
        [
            "wav/a b.wav,Happy,s1,F,1,de,train,,,0.5,33",
            "long.wav,angry,s2,male,,,test,0.1,0.2,,",
            "long.wav,sad,s2,male,,,test,0.2,0.4,,",
        ],
        header,
    )
    record(tmp_path / "stray.wav")
    parsed = parse("table", tmp_path)
    first, second, third = (
        sorted(parsed.rows, key=lambda row: row.utterance)[2],
        *sorted(parsed.rows, key=lambda row: row.utterance)[:2],
    )
    assert first == Row(
        source="wav/a b.wav",
        utterance="wav/a b",
        speaker="s1",
        gender="female",
        session="1",
        emotion="happy",
        language="de",
        role="train",
        shares={"joy": 0.5},
    )
    assert (second.utterance, second.start_s, second.end_s) == ("long@0.1", 0.1, 0.2)
    assert (third.utterance, third.session, third.emotion) == ("long@0.2", "s2", "sad")
    assert reasons(parsed) == {"stray.wav": "not in labels.csv"}


def test_rows_without_label_or_file_are_rejects(tmp_path: Path) -> None:
    labelled(tmp_path, ["a.wav,happy,s1", "b.wav,,s1", "c.wav,sad,s1"])
    (tmp_path / "c.wav").unlink()
    parsed = parse("table", tmp_path)
    assert [row.source for row in parsed.rows] == ["a.wav"]
    assert [(r.source, r.code) for r in parsed.rejects] == [
        ("b.wav", "unlabelled"),
        ("c.wav", "missing"),
    ]


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        ("path,emotion", "a.wav,happy", "line 1: missing column 'speaker'"),
        ("path:emotion:speaker", "a.wav:happy:s", "missing column 'path', expected path, emotion"),
        ("path,emotion,speaker,emotion", "a.wav,happy,s,sad", "line 1: column 'emotion' stands"),
        ("path,emotion,speaker", "a.wav,ha\0ppy,s", "line 2: has a NUL byte, remove it"),
        ("path,emotion,speaker", "../a.wav,happy,s", "line 2: path must lie within"),
        ("path,emotion,speaker", "x/../../a.wav,happy,s", "line 2: path must lie within"),
        ("path,emotion,speaker", "/etc/passwd,happy,s", "line 2: path must lie within"),
        ("path,emotion,speaker", ",happy,s", "line 2: path must lie within"),
        ("path,emotion,speaker", "a.wav,happy", "line 2: expected 3 cells"),
        ("path,emotion,speaker", "a.wav,happy,s,t", "line 2: expected 3 cells"),
        ("path,emotion,speaker,gender", "a.wav,happy,s,femal", "line 2: gender must be one of"),
        ("path,emotion,speaker,start", "a.wav,happy,s,soon", "line 2: start must be 0 to"),
        ("path,emotion,speaker,start", "a.wav,happy,s,nan", "line 2: start must be 0 to"),
        ("path,emotion,speaker,share_joy", "a.wav,happy,s,1.5", "line 2: share_joy must be 0 to 1"),
        ("path,emotion,speaker,split", "a.wav,happy,s,tset", "line 2: split must be one of"),
        ("path,emotion,speaker", 'a.wav,"hap,s', "not a UTF-8 CSV file"),
        ("path,emotion,speaker", "a.wav,happy,s\na.wav,sad,s", "a.wav at 0 s is listed twice"),
    ],
)
def test_a_malformed_table_names_its_line(tmp_path: Path, header: str, row: str, told: str) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "labels.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(PipelineError) as caught:
        parse("table", tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parser", "name", "known"),
    [
        ("emodb", "03a01Xa", "W, L, E, A, F, T, N"),
        ("ravdess", "03-01-09-01-01-01-01", "01, 02, 03"),
        ("crema-d", "1001_DFA_JOY_XX", "ANG, DIS"),
        ("tess", "OAF_back_joyful", "angry, disgust"),
        ("savee", "DC_j01", "a, d, f"),
    ],
)
def test_an_unknown_emotion_code_stops_and_lists_the_known(
    tmp_path: Path, parser: str, name: str, known: str
) -> None:
    record(tmp_path / f"{name}.wav")
    with pytest.raises(PipelineError) as caught:
        parse(parser, tmp_path)
    assert f"{name}.wav: unknown emotion code" in str(caught.value)
    assert known in str(caught.value)


TABLES = {"demo", "table", "emotion-share", "nemo", "meld", "msp-podcast", "audformat"}


@pytest.mark.parametrize("parser", sorted(set(ALL) - TABLES))
def test_a_folder_of_something_else_says_what_was_expected(tmp_path: Path, parser: str) -> None:
    with pytest.raises(PipelineError, match="no such folder, put the corpus there"):
        parse(parser, tmp_path / "none")
    record(tmp_path / "hello.wav")
    with pytest.raises(PipelineError, match="no utterance of the layout"):
        parse(parser, tmp_path)


def test_leftovers_of_archivers_are_not_audio(tmp_path: Path) -> None:
    record(tmp_path / "wav/03a01Fa.wav")
    for name in ("__MACOSX/wav/._03a01Fa.wav", "wav/._03a01Fa.wav", ".cache/03a01Nc.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x00\x05\x16\x07")
    parsed = parse("emodb", tmp_path)
    assert (len(parsed.rows), parsed.rejects, parsed.out_of_scope) == (1, [], [])


def test_links_that_loop_or_dangle_are_rejects(tmp_path: Path) -> None:
    record(tmp_path / "03a01Fa.wav")
    (tmp_path / "03a01Nc.wav").symlink_to("03a01Nc.wav")
    (tmp_path / "03a01Wa.wav").symlink_to("nowhere.wav")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "03a02Fc.wav").symlink_to("03a01Fa.wav")
    parsed = parse("emodb", tmp_path)
    assert [row.source for row in parsed.rows] == ["03a01Fa.wav", "03a02Fc.wav"]
    assert {(reject.source, reject.code) for reject in parsed.rejects} == {
        ("03a01Nc.wav", "link"),
        ("03a01Wa.wav", "link"),
        ("loop", "link"),
    }


@pytest.mark.parametrize("target", ["file", "folder"])
def test_a_link_out_of_the_corpus_stops(tmp_path: Path, target: str) -> None:
    outside = record(tmp_path / "outside/03a01Fa.wav")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "03a01Fa.wav").symlink_to(outside if target == "file" else outside.parent)
    with pytest.raises(PipelineError, match="a link out of the corpus folder"):
        parse("emodb", raw)


def test_the_corpus_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    record(tmp_path / "elsewhere/03a01Fa.wav")
    (tmp_path / "emodb").symlink_to("elsewhere")
    assert len(parse("emodb", tmp_path / "emodb").rows) == 1


def test_unusual_names_are_ids_like_any_other(tmp_path: Path) -> None:
    names = ["a b.wav", "-rf.wav", "naïve.wav", "🙂.wav", "two\nlines.wav", "#1~2%.wav"]
    for name in names:
        record(tmp_path / name)
    rows = "".join(f'"{name}",happy,s\n' for name in names)
    (tmp_path / "labels.csv").write_text("path,emotion,speaker\n" + rows, "utf-8")
    parsed = parse("table", tmp_path)
    assert {row.utterance for row in parsed.rows} == {name.removesuffix(".wav") for name in names}


def test_names_that_differ_in_unicode_form_alone_collide(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "x_é.wav") for form in ("NFC", "NFD")]
    for pitch_hz, name in zip((200, 300), names, strict=True):
        record(tmp_path / name, tone(0.5, pitch_hz))
    rows = "".join(f"{name},sad,s\n" for name in names)
    (tmp_path / "labels.csv").write_text("path,emotion,speaker\n" + rows, "utf-8")
    with pytest.raises(PipelineError, match="x_é"):
        parse("table", tmp_path)


def test_a_name_that_is_not_utf_8_is_a_reject(tmp_path: Path) -> None:
    record(tmp_path / "03a01Fa.wav")
    shutil.copy(tmp_path / "03a01Fa.wav", tmp_path / "03a01F\udce9.wav")
    parsed = parse("emodb", tmp_path)
    assert [(r.source, r.code) for r in parsed.rejects] == [("03a01F\\udce9.wav", "name")]
