"""Tables as people and their spreadsheets write them."""

from pathlib import Path

import pytest

from pipeline.corpora import registry
from pipeline.corpora.entries import Row
from pipeline.corpora.tables import read
from pipeline.ground.errors import PipelineError
from tests.recordings import record

PLAIN = "path,emotion,speaker,start,end,share_joy\na.wav,sad,anna,0.25,0.5,0.125\n"


def parse(folder: Path, labels: bytes | str) -> Row:
    record(folder / "a.wav")
    held = labels.encode() if isinstance(labels, str) else labels
    (folder / "labels.csv").write_bytes(held)
    (row,) = registry.parse("table", folder).rows
    return row


SEMICOLONS = PLAIN.replace(",", ";").replace(".25", ",25").replace(".5", ",5").replace(".1", ",1")


@pytest.mark.parametrize(
    "labels",
    [
        PLAIN.replace("path", " Path").replace("start", "START ").replace("share_j", " Share_J"),
        PLAIN.replace("path", "\u00a0path").replace(",end", ", e nd"),
        "\ufeff\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN + ",,,,,\n\n , , ,,,\n",
        PLAIN.replace("\n", ",,\n"),
        "\n\n" + PLAIN,
        PLAIN.replace("\n", "\n\n"),
        SEMICOLONS,
        SEMICOLONS + ";;;;;\n",
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        "sep=;\r\n" + SEMICOLONS,
        SEMICOLONS.replace(";", "\t").encode("utf-16"),
        SEMICOLONS.encode("utf-16"),
        ("\ufeff" + PLAIN).encode("utf-16-be"),
        PLAIN.replace("path,", ",path,").replace("a.wav,", "0,a.wav,"),  # an index, as of pandas
    ],
)
def test_what_spreadsheets_write_is_read_alike(tmp_path: Path, labels: bytes | str) -> None:
    assert parse(tmp_path, labels) == parse(tmp_path / "plain", PLAIN)


def test_the_plain_table_says_what_it_says(tmp_path: Path) -> None:
    row = parse(tmp_path, PLAIN)
    assert (row.start_s, row.end_s, row.shares) == (0.25, 0.5, {"joy": 0.125})


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("speaker_id", "speaker"), ("SpeakerID", "speaker"), ("spk", "speaker"),
        ("file", "path"), ("Label", "emotion"), ("emotions", "emotion"),
        ("start_s", "start"), ("Start (s)", "start"), ("strat", "start"), ("begin", "start"),
        ("end_time", "end"), ("utt-end", "end"), ("offset", "end"),
        ("gendr", "gender"), ("Sex", "gender"), ("sessions", "session"), ("lang", "language"),
        ("partition", "split"), ("share joy", "share_"), ("shares_joy", "share_"),
    ],
)  # fmt: skip
def test_a_column_that_looks_like_ours_is_named(tmp_path: Path, name: str, ours: str) -> None:
    names = ["path", "emotion", "speaker"]
    header = [name if one == ours else one for one in names]
    header += [] if ours in names else [name]
    with pytest.raises(PipelineError) as caught:
        parse(tmp_path, ",".join(header) + "\n" + ",".join("a.wav" for _ in header) + "\n")
    told = str(caught.value)
    assert f"labels.csv: line 1: {'missing column' if ours in names else 'column'}" in told
    assert repr(ours) in told
    assert repr(name) in told


def test_columns_that_mean_something_else_are_passed_over(tmp_path: Path) -> None:
    others = ["age", "text", "state", "weekend", "duration", "speaker_age", "emotion_old", "rating"]
    header = ",".join(["path,emotion,speaker", *others])
    row = parse(tmp_path, f"{header}\na.wav,sad,anna" + ",x" * len(others))
    assert (row.emotion, row.speaker) == ("sad", "anna")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            b"path,emotion,speaker\na.wav,sad,J\xfcrgen\n",
            "line 2: not a UTF-8 CSV file (byte 0xfc)",
        ),
        (PLAIN.encode("utf-16-le"), "line 1: has a NUL byte, remove it or save it as UTF-8"),
        (
            PLAIN.replace("0.25", '"0,25"'),
            "start must be 0 to 1e+06, got '0,25', write it with a p",
        ),
        (
            SEMICOLONS.replace("0,25", "1.000,25"),
            "line 2: start must be 0 to 1e+06, got '1.000,25'",
        ),
        (PLAIN.replace("end", "Start"), "line 1: column 'start' stands there twice"),
        (PLAIN + "a.wav,sad\n", "line 3: expected 6 cells, got 2"),
        (PLAIN + 'a.wav,"sad\n', "line 3: not a UTF-8 CSV file (unexpected end of data)"),
        ("", "line 1: missing column 'path'"),
        ('sep="\n' + PLAIN, "line 1: missing column 'path'"),
    ],
)
def test_what_cannot_be_read_names_its_line(tmp_path: Path, labels: bytes | str, told: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(tmp_path, labels)
    assert told in str(caught.value)


def test_other_columns_keep_their_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("File Name;Empathic Pain\nb.wav;0,5\n")
    (line,) = read(path, ())
    assert dict(line.cells) == {"File Name": "b.wav", "Empathic Pain": "0,5"}
    assert (line.number("Empathic Pain", 0, 1), line.number("Joy", 0, 1)) == (0.5, None)


def test_paths_that_are_all_wrong_are_told_with_the_nearest_files(tmp_path: Path) -> None:
    for n in range(5):
        record(tmp_path / f"audio/clip_{n}.wav")
    rows = [f"C:\\data\\clip_{n}.WAV,sad,s" for n in range(4)] + ["audio/klip_4.wav,sad,s"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,emotion,speaker", *rows]) + "\n")
    with pytest.raises(PipelineError) as caught:
        registry.parse("table", tmp_path)
    told = str(caught.value)
    assert "labels.csv: line 2 names a file that is not there" in told
    assert "the nearest that is there: audio/clip_0.wav" in told
    assert "the nearest that is there: audio/clip_1.wav" in told


def test_a_file_name_in_an_old_encoding_is_told_as_such(tmp_path: Path) -> None:
    record(tmp_path / "a.wav")
    for name in ("J\udcfcrgen.wav", "M\udc81ller.wav", "\udce9.wav"):  # cp1252, cp850, none's
        record(tmp_path / "x.wav").rename(tmp_path / name)
    rows = ["a.wav,sad,s", "J\u00fcrgen.wav,sad,s", "Mu\u0308ller.wav,sad,s"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,emotion,speaker", *rows]) + "\n")
    rejects = registry.parse("table", tmp_path).rejects
    assert [(r.source, r.code, r.label.rpartition(" ")[2]) for r in rejects] == [
        ("J\\udcfcrgen.wav", "name", "3"),
        ("M\\udc81ller.wav", "name", "4"),
        ("\\udce9.wav", "name", ""),
    ]
