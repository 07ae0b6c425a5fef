"""From folders as people have them to settings that the stages accept."""

import csv
import itertools
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.cli.main import app
from pipeline.cli.start import names, settings
from pipeline.cli.start.rows import Labelled
from pipeline.corpora import manifest, registry, spellings
from pipeline.ground import documents
from pipeline.ground.code import ROOT
from pipeline.splits.targets import Emotion

EMOTIONS = ("Wut", "Freude", "neutral", "Trauer")
PEOPLE = ("Anna", "Ben", "Carla", "Dirk", "Eva", "Fritz")
TAKES = (1, 2)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's settings in a folder that Git does not know."""
    for name in ("params.yaml", "presets/demo.yaml"):
        target = tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((ROOT / "presets/demo.yaml").read_text("utf-8"), "utf-8")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def record(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(str(path).encode())).normal(0, 0.1, 1600)
    soundfile.write(path, noise, 16000)


def init(*words: str | Path) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["init", *map(str, words)])
    assert not ended.value.code


def refusal(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        app(["init", *map(str, words)])
    assert ended.value.code == 1
    return capsys.readouterr().err.strip()


def by_folder(folder: Path) -> Path:
    for who, emotion, take in itertools.product(PEOPLE, EMOTIONS, TAKES):
        record(folder / who / f"{emotion}_{take}.wav")
    return folder


def test_folders_and_names_tell_speaker_and_emotion(project: Path) -> None:
    init(by_folder(project / "My Voices"), "--yes")
    parsed = registry.parse("table", Path("data/raw/my-voices"))
    assert Counter(row.speaker for row in parsed.rows) == dict.fromkeys(PEOPLE, 8)
    assert not parsed.rejects and not parsed.out_of_scope
    made = documents.read(Path("params.yaml"))
    assert made["corpora"] == ["my-voices"]
    assert made["corpus"]["my-voices"] == {"parser": "table", "language": "und"}
    assert made["task"]["emotion"]["classes"] == ["angry", "happy", "neutral", "sad"]
    assert made["task"]["emotion"]["merge"] == {"Freude": "happy", "Trauer": "sad", "Wut": "angry"}
    assert made["split"].items() >= {"by": "speaker", "count": 5, "dev": "speaker"}.items()
    assert made["folds"] == [0, 1, 2, 3, 4]


def test_the_stages_take_what_it_wrote(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stages import preprocess, split

    init(by_folder(project / "voices"), "--yes", "--language", "de")
    preprocess.main("voices")
    split.main()
    clips = manifest.read(["voices"])
    assert len(clips) == 48
    assert {clip.language for clip in clips} == {"de"}


def test_a_table_with_names_of_its_own_and_a_column_that_is_told(project: Path) -> None:
    rows = list(itertools.product("ABCD", ("Anger", "joy", "sarcastic"), TAKES))
    for number in range(len(rows)):
        record(project / f"calls/audio/{number:04d}.flac")
    # As Excel writes it.
    with (project / "calls/meta.csv").open("w", newline="", encoding="utf-16") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["File ID", "Emotion Label", "Actor", "Sex", "Notes"])
        for number, (who, emotion, take) in enumerate(rows):
            table.writerow([f"{number:04d}", emotion, who, "F" if who in "AB" else "m", take])
    init(project / "calls", "--yes")
    parsed = registry.parse("table", Path("data/raw/calls"))
    assert [(r.speaker, r.emotion, r.gender) for r in parsed.rows] == [
        (who, emotion.lower(), "female" if who in "AB" else "male") for who, emotion, _ in rows
    ]
    init(project / "calls", "--yes", "--name", "twice", "--column", "session=Notes")
    sessions = {row.session for row in registry.parse("table", Path("data/raw/twice")).rows}
    assert sessions == {"1", "2"}


def test_a_pattern_and_what_it_leaves_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for who, emotion in itertools.product(("7", "8", "9"), ("x1", "x2")):
        record(project / f"odd/{emotion}-{who}.wav")
    record(project / "odd/readme.wav")
    init(project / "odd", "--pattern", "{emotion}-{speaker}", "--yes")
    assert "not like it, left out: 1, the first readme.wav" in capsys.readouterr().out
    assert documents.read(Path("params.yaml"))["task"]["emotion"]["classes"] == ["x1", "x2"]


def test_a_known_layout_needs_no_table(project: Path) -> None:
    for who, code in itertools.product(("03", "08", "09"), "WFNT"):
        record(project / f"berlin/{who}a01{code}a.wav")
    init(project / "berlin", "--yes")
    assert documents.read(Path("params.yaml"))["corpus"]["berlin"]["parser"] == "emodb"
    assert not Path("data/raw/berlin/labels.csv").exists()


def test_one_more_corpus_keeps_the_first_and_its_classes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(by_folder(project / "one"), "--yes")
    capsys.readouterr()
    for who, emotion in itertools.product(("sp1", "sp2"), ("anger", "joy", "JOY", "bored", "Sad")):
        record(project / f"two/{who}_{emotion}.wav")
    init(project / "two", "--add", "--yes")
    made = documents.read(Path("params.yaml"))
    assert made["corpora"] == ["one", "two"]
    assert made["task"]["emotion"]["classes"] == ["angry", "happy", "neutral", "sad"]
    assert made["task"]["emotion"]["merge"].items() >= {"anger": "angry", "JOY": "happy"}.items()
    told = capsys.readouterr().out
    assert "merge: JOY counts as happy\nleft out: bored, no class is for it\n" in told
    assert "split" not in told  # it stays as it is


def test_nothing_is_written_unless_it_is_agreed_or_over_what_is_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voices, before = by_folder(project / "voices"), Path("params.yaml").read_bytes()
    assert "nothing was written, add --yes" in refusal(capsys, voices)
    init(voices, "--dry-run")
    assert "+- voices" in capsys.readouterr().out
    assert Path("params.yaml").read_bytes() == before and not Path("data").exists()
    Path("data/raw/voices").mkdir(parents=True)
    assert "is there already, choose another name" in refusal(capsys, voices, "--yes")
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--pattern", "{speaker}"], "must have {emotion}"),
        (["--pattern", "{emotion}/{}/{}/x"], "no file is like"),
        (["--column", "emotion"], "a pair such as emotion=Label"),
        (["--labels", "no.csv"], "no such file"),
        (["--name", "12"], "not digits alone"),
    ],
)
def test_what_cannot_be_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    told = refusal(capsys, by_folder(project / "voices"), *words, "--yes")
    assert line in told and "\n" not in told


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("", "expected a header and rows"),
        ("file,emotion\n", "expected a header and rows"),
        ("file,emotion,emotion\na.wav,sad,sad\n", "column 'emotion' stands there twice"),
        ("file,emotion\na.wav,sad,and,more\n", "line 2: expected 2 cells, got 4"),
    ],
)
def test_a_table_that_is_none_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], table: str, line: str
) -> None:
    (by_folder(project / "voices") / "meta.csv").write_text(table)
    told = refusal(capsys, project / "voices", "--yes")
    assert line in told and "\n" not in told


def test_names_without_emotions_ask_for_a_pattern(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project / "plain/1.wav")
    assert "give --labels FILE.csv, or --pattern" in refusal(capsys, project / "plain")


def test_takes_are_no_speakers() -> None:
    files = [f"{e}_{t:02d}.wav" for e in ("anger", "joy", "fear") for t in range(6)]
    found = names.guessed(files)
    assert found and {row.speaker for row in found.rows} == {""}


@pytest.mark.parametrize(
    ("speakers", "by", "count", "dev"),
    [
        (0, "random", 5, "random"),
        (1, "random", 5, "random"),
        (2, "speaker", "all", "none"),
        (4, "speaker", "all", "speaker"),
        (9, "speaker", 5, "speaker"),
    ],
)
def test_the_split_fits_the_speakers(speakers: int, by: str, count: object, dev: str) -> None:
    people = [f"p{n}" for n in range(speakers)] or [""]
    rows = [Labelled(f"{who}{e}.wav", e, who) for who in people for e in ("sad", "angry")]
    assert settings.split(rows)[0] == {"by": by, "count": count, "dev": dev}


def test_a_label_in_two_cases_is_merged_once() -> None:
    rows = [Labelled(who + e, e, who) for who in "abcd" for e in ("SAD", "Anger", "anger", "Mooh")]
    found = settings.classes(rows)
    assert found.names == {"angry": 8, "mooh": 4, "sad": 4}
    task = Emotion(target="emotion", classes=[*found.names], merge=dict(found.merge))
    assert [task.index(row.emotion) for row in rows[:4]] == [2, 0, 0, 1]


def test_a_label_of_one_speaker_is_left_out_and_said() -> None:
    rows = [Labelled(f"{who}{e}", e, who) for who in "abcd" for e in ("sad", "angry")]
    found = settings.classes([*rows, Labelled("x", "bored", "a")])
    assert list(found.names) == ["angry", "sad"]
    assert found.left_out == {"bored": "1 of 4 speakers say it, too few for a split by speaker"}


def test_no_spelling_means_two_emotions() -> None:
    words = [(spellings.bare(word), name) for name, text in spellings.SPELLINGS.items()
             for word in [name, *text.split()]]  # fmt: skip
    meant = dict(words)
    assert all(meant[word] == name for word, name in words)


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("Anger", "angry"),
        ("HAPPINESS", "happy"),
        ("Złość", "angry"),
        ("Wütend", "angry"),
        ("pleasant_surprise", "surprise"),
        ("neutral2", "neutral"),
        ("x", None),
        ("", None),
    ],
)
def test_spellings(label: str, meant: str | None) -> None:
    assert spellings.canonical(label) == meant
