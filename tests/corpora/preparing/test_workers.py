"""Utterances become clips: ids, segments, children, the store, workers."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import decoding, flac, formats
from pipeline.audio.augmentation import Noise, Stretch
from pipeline.audio.recording import HELD_BYTES, Recording
from pipeline.corpora import manifest
from pipeline.corpora.entries import Row
from pipeline.corpora.prepared import Prepared
from pipeline.corpora.preparing.clips import clips_of, remove
from pipeline.corpora.preparing.utterance import Settings
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.ground.errors import PipelineError
from tests.recordings import record, tone

PLAIN = Settings(
    max_clip_s=20.0,
    last_clip="shorter",
    max_utterance_s=60.0,
    trim_db=None,
    augment=(),
    seed=1,
)


def row(source: str, **known: object) -> Row:
    fields = {"utterance": source.removesuffix(".wav"), "speaker": "s", "gender": "male"}
    fields |= {"session": "1", "emotion": "sad"}
    return Row(source=source, **(fields | known))  # type: ignore[arg-type]


def test_a_clip_that_is_not_as_long_as_its_label_says_is_rejected(tmp_path: Path) -> None:
    for name, length_s in (("right", 2.0), ("short", 0.9), ("long", 3.2)):
        record(tmp_path / f"raw/{name}.wav", tone(length_s, 100 * length_s))
    rows = [row(f"{name}.wav", length_s=2.0) for name in ("right", "short", "long")]
    for _ in range(2):  # and from the store
        made = run(tmp_path, rows)
        assert [one.code for one in made] == ["", "miscut", "miscut"]
    assert made[2].detail == "3.2 s, but 2.0 s by its label"
    assert run(tmp_path, [row("long.wav", length_s=3.0)])[0].code == ""


def run(
    folder: Path, rows: list[Row], settings: Settings = PLAIN, workers: int = 0
) -> list[Prepared]:
    """What became of the rows; their clips are under ``clips/toy``, anew."""
    places = Places(folder / "raw", folder / "clips/toy", folder / "store")
    shutil.rmtree(places.clips, ignore_errors=True)
    places.clips.mkdir(parents=True)
    places.scratch.mkdir(exist_ok=True)
    return list(prepare_all(rows, settings, places, workers))


def place(folder: Path, prepared: list[Prepared]) -> list[manifest.Clip]:
    """The manifest of what was made, written and read."""
    clips = [clip for p in prepared for clip in clips_of(p, "toy", "xx")]
    manifest.write(folder / "clips/toy/manifest.csv", clips)
    return manifest.read(["toy"], folder / "clips")


def samples_of(folder: Path, clip: manifest.Clip) -> formats.Samples:
    return flac.read_clip(folder / "clips/toy" / clip.path)


def test_a_clip_says_where_it_comes_from(tmp_path: Path) -> None:
    wave = tone(0.5)
    record(tmp_path / "raw/a.wav", wave)
    (made,) = place(tmp_path, run(tmp_path, [row("a.wav", shares={"joy": 0.5})]))
    assert (made.clip, made.utterance, made.path) == ("toy/a", "toy/a", "audio/a.flac")
    assert (made.speaker, made.language, made.shares) == ("toy/s", "xx", {"joy": 0.5})
    assert (made.duration_s, made.start_s, made.augmented_from) == (0.5, 0.0, "")
    np.testing.assert_allclose(samples_of(tmp_path, made), wave, atol=1 / 32768)


def test_long_utterances_are_cut_and_the_cuts_join_up(tmp_path: Path) -> None:
    record(tmp_path / "raw/a.wav", tone(2.5))
    settings = replace(PLAIN, max_clip_s=1.0)
    clips = place(tmp_path, run(tmp_path, [row("a.wav")], settings))
    assert [c.clip for c in clips] == ["toy/a#1", "toy/a#2", "toy/a#3"]
    assert [(c.start_s, c.duration_s) for c in clips] == [(0.0, 1.0), (1.0, 1.0), (2.0, 0.5)]
    assert {c.utterance for c in clips} == {"toy/a"}
    whole = np.concatenate([samples_of(tmp_path, c) for c in clips])
    np.testing.assert_array_equal(whole, decoding.decode(tmp_path / "raw/a.wav")[0])
    overlapped = run(tmp_path, [row("a.wav")], replace(settings, last_clip="overlapped"))
    assert [s.start_s for s in overlapped[0].segments] == [0.0, 1.0, 2.0]


def test_times_are_those_of_the_source(tmp_path: Path) -> None:
    quiet = np.zeros(8_000, np.float32)
    record(tmp_path / "raw/a.wav", np.concatenate([quiet, tone(1.0), quiet]))
    settings = replace(PLAIN, trim_db=40.0)
    (made,) = place(tmp_path, run(tmp_path, [row("a.wav", start_s=0.25)], settings))
    assert made.start_s == pytest.approx(0.5, abs=0.025)
    assert made.duration_s == pytest.approx(1.0, abs=0.05)


def test_children_follow_their_clip(tmp_path: Path) -> None:
    record(tmp_path / "raw/a.wav", tone(1.5))
    kinds = (
        Noise(kind="noise", name="noise", low=10.0, high=10.0),
        Stretch(kind="stretch", name="slow", low=0.5, high=0.5),
    )
    settings = replace(PLAIN, max_clip_s=1.0, augment=kinds)
    clips = {c.clip: c for c in place(tmp_path, run(tmp_path, [row("a.wav")], settings))}
    assert {name: c.augmented_from for name, c in clips.items()} == {
        "toy/a#1": "",
        "toy/a#1~noise": "toy/a#1",
        "toy/a#1~slow": "toy/a#1",
        "toy/a#2": "",
        "toy/a#2~noise": "toy/a#2",
        "toy/a#2~slow": "toy/a#2",
    }
    assert max(c.duration_s for c in clips.values()) == 1.0
    assert clips["toy/a#2~slow"].duration_s == 1.0
    assert len({c.sha256 for c in clips.values()}) == 6
    assert {c.utterance for c in clips.values()} == {"toy/a"}


def test_results_depend_on_neither_order_nor_workers(tmp_path: Path) -> None:
    rows = [row(f"{n}.wav") for n in range(20)]
    for made in rows:
        record(tmp_path / "raw" / made.source)
    settings = replace(PLAIN, augment=(Noise(kind="noise", name="n", low=0.0, high=30.0),))
    one = run(tmp_path, rows, settings)
    first = {path.name: path.read_bytes() for path in (tmp_path / "clips").rglob("*.flac")}
    shutil.rmtree(tmp_path / "store")
    many = run(tmp_path, rows[::-1], settings, workers=2)
    assert one == many[::-1]
    assert len(first) == 40
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "clips").rglob("*.flac")}


def test_what_is_finished_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(f"{n}.wav") for n in range(4)]
    for one in rows[:3]:
        record(tmp_path / "raw" / one.source)
    first = run(tmp_path, rows[:3])
    decoded: list[str] = []
    decode = decoding.decode_part

    def counting(recording: Recording, *args: float) -> object:
        decoded.append(recording.path.name)
        return decode(recording, *args)

    monkeypatch.setattr(decoding, "decode_part", counting)
    record(tmp_path / "raw/3.wav")
    again = run(tmp_path, rows)
    assert (decoded, again[:3]) == (["3.wav"], first)
    # Other content under the same name is new; the same content at another time is not.
    record(tmp_path / "raw/0.wav", tone(0.7))
    (tmp_path / "raw/1.wav").touch()
    assert run(tmp_path, rows)[0].segments[0].duration_s == 0.7
    assert decoded == ["3.wav", "0.wav"]


def test_rejections_are_remembered_too(tmp_path: Path) -> None:
    record(tmp_path / "raw/a.wav", np.zeros(8_000, np.float32))
    for _ in range(2):
        (made,) = run(tmp_path, [row("a.wav")])
        assert (made.code, made.segments) == ("silent", ())


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("wav/a b", "audio/wav/a b.flac"),
        ("-rf", "audio/-rf.flac"),
        (".hidden/x", "audio/%2Ehidden/x.flac"),
        ("../x", "audio/%2E./x.flac"),
        ("é🙂", "audio/%C3%A9%F0%9F%99%82.flac"),
        ("two\nlines%", "audio/two%0Alines%25.flac"),
    ],
)
def test_unusual_names_make_harmless_paths(tmp_path: Path, name: str, path: str) -> None:
    record(tmp_path / "raw/a.wav")
    (made,) = place(tmp_path, run(tmp_path, [row("a.wav", utterance=name)]))
    assert (made.clip, made.path) == (f"toy/{name}", path)
    assert (tmp_path / "clips/toy" / path).is_file()


@pytest.mark.parametrize(
    "name",
    [
        "\u6211" * 28,  # 84 bytes, 252 once encoded: it fits but for its suffix
        "\u6211" * 80,
        "/".join(["\u6211" * 80, "\u6211" * 80, "\u6211" * 28]),
        "a" * 250,
        "a" * 159 + "\u6211" * 20,
        "/".join(["\u6211" * 70] * 18),
    ],
)
def test_long_names_are_shortened_and_stay_apart(tmp_path: Path, name: str) -> None:
    record(tmp_path / "raw/a.wav", tone(1.5))
    rows = [row("a.wav", utterance=name + end, start_s=n / 4) for n, end in enumerate(("", "x"))]
    clips = place(tmp_path, run(tmp_path, rows, replace(PLAIN, max_clip_s=1.0)))
    assert [c.clip for c in clips] == sorted(f"toy/{name}{e}" for e in ("#1", "#2", "x#1", "x#2"))
    assert len({c.path for c in clips}) == 4
    assert all((tmp_path / "clips/toy" / c.path).is_file() for c in clips)
    assert max(len(part) for c in clips for part in c.path.split("/")) <= 255
    assert not any(re.search("%(?![0-9A-F]{2})", c.path) for c in clips)


def test_a_name_that_just_fits_is_not_changed(tmp_path: Path) -> None:
    record(tmp_path / "raw/a.wav")
    names = ["a" * 250, "a" * 251]
    made = place(tmp_path, run(tmp_path, [row("a.wav", utterance=name) for name in names]))
    assert made[0].path == f"audio/{names[0]}.flac"
    assert made[1].path.startswith(f"audio/{'a' * 160}~")


def test_what_the_audit_refuses_is_taken_back(tmp_path: Path) -> None:
    record(tmp_path / "raw/a.wav", tone(1.5))
    (made,) = run(tmp_path, [row("a.wav")], replace(PLAIN, max_clip_s=1.0))
    assert len(list((tmp_path / "clips").rglob("*.flac"))) == 2
    remove(made, tmp_path / "clips/toy")
    assert not list((tmp_path / "clips").rglob("*.flac"))


def test_a_source_that_changes_while_it_is_read_leaves_no_wrong_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record(tmp_path / "raw/a.wav", tone(0.5))
    right = run(tmp_path, [row("a.wav")])
    shutil.rmtree(tmp_path / "store")
    good, decode = path.read_bytes(), decoding.decode_part

    def disturbed(recording: Recording, *args: float) -> object:
        record(path, tone(0.5, 330))
        return decode(recording, *args)

    monkeypatch.setattr(decoding, "decode_part", disturbed)
    for held_bytes in (HELD_BYTES, 0):
        monkeypatch.setattr("pipeline.audio.recording.HELD_BYTES", held_bytes)
        with pytest.raises(PipelineError, match=r"raw/a\.wav: changed while it was read"):
            run(tmp_path, [row("a.wav")])
        path.write_bytes(good)
        with monkeypatch.context() as calm:
            calm.setattr(decoding, "decode_part", decode)
            assert run(tmp_path, [row("a.wav")]) == right
        shutil.rmtree(tmp_path / "store")


def test_rows_of_one_file_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "raw/a.wav", tone(2.0))
    opened: list[Path] = []

    class Counted(Recording):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr("pipeline.corpora.preparing.workers.Recording", Counted)
    parts = [row("a.wav", utterance=str(n), start_s=n / 10, end_s=n / 10 + 0.1) for n in range(20)]
    assert len({p.segments[0].sha256 for p in run(tmp_path, parts)}) == 20
    assert len(opened) == 1


def test_what_is_no_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "raw/a.wav").mkdir(parents=True)
    (made,) = run(tmp_path, [row("a.wav")])
    assert (made.code, made.segments) == ("undecodable", ())
