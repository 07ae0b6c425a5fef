"""The audit of a corpus with planted defects, and the real duplicate in RAVDESS."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from pipeline.audio.decoding import Source
from pipeline.corpora import audit, registry
from pipeline.corpora.entries import Corpus, OutOfScope, Reject, Row
from pipeline.corpora.parsers import ravdess
from pipeline.corpora.prepared import Prepared, Segment
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.corpora.registry import Parsed
from pipeline.ground.errors import PipelineError
from tests.corpora.preparing.test_workers import PLAIN


def prepared(name: str, sha256: str = "", code: str = "", **known: object) -> Prepared:
    fields = {"speaker": "s1", "gender": "male", "session": "1", "emotion": "sad"} | known
    row = Row(source=f"{name}.wav", utterance=name, **fields)  # type: ignore[arg-type]
    if code:
        return Prepared(row, code=code, detail="told")
    segment = Segment("", None, 0.0, 2.0, sha256 or name, 1)
    child = Segment("~n", "", 0.0, 2.0, "noise", 1)
    return Prepared(row, (segment, child), Source(48_000, 2, 0.01 if name == "loud" else 0.0))


def settle(*made: Prepared) -> audit.Outcome:
    parsed = Parsed([p.row for p in made], [Reject("m.wav", "missing", "gone")],
                    [OutOfScope("song.wav", "song")])  # fmt: skip
    return audit.settle(parsed, made)


def test_every_file_is_accounted_for() -> None:
    outcome = settle(prepared("a"), prepared("loud", emotion="happy"), prepared("c", code="silent"))
    corpus = Corpus(parse=lambda _: (), counts={"emotion": {"sad": 2, "happy": 1}})
    report = audit.report("toy", corpus, outcome)
    assert report["found"] == 5
    assert (report["kept"], report["clips"], report["duration_s"]) == (2, 4, 4.0)
    assert report["out_of_scope"] == {"song": 1}
    assert report["rejected"] == {"missing": 1, "silent": 1}
    assert report["counts"]["emotion"] == {"happy": 1, "sad": 1}
    assert report["counts"]["gender"] == {"male": 2}
    assert (report["sample_rates_hz"], report["channels"]) == ({"48000": 2}, {"2": 2})
    assert report["clipped"] == ["loud.wav"]
    assert report["warnings"] == [
        "emotion sad: 1 utterances kept, 2 published",
        "more than 0.1% of samples at full scale (clipped): loud.wav",
    ]


def test_clipped_and_noted_sources_are_told_once_each_by_name() -> None:
    def of(source: str, clipped: float, note: str) -> Prepared:
        made = prepared(f"{source}{clipped}{note}")
        row = replace(made.row, source=f"{source}.wav")
        return replace(made, row=row, source=Source(16_000, 1, clipped, note))

    parts = [of(source, clipped, "cut") for source in "abcde" for clipped in (0.0, 0.01, 0.02)]
    outcome = settle(*parts, of("f", 1e-3, "odd"), of("g", 0.0, ""))
    report = audit.report("toy", Corpus(parse=lambda _: ()), outcome)
    five = [f"{source}.wav" for source in "abcde"]
    assert report["clipped"] == five
    assert report["notes"] == {"cut": five, "odd": ["f.wav"]}
    assert report["warnings"] == [
        "more than 0.1% of samples at full scale (clipped): a.wav, b.wav, c.wav and 2 more",
        "cut: a.wav, b.wav, c.wav and 2 more",
        "odd: f.wav",
    ]


def test_a_published_partition_is_counted_and_other_values_are_not_compared() -> None:
    outcome = settle(prepared("a", role="train"), prepared("b", role="test", emotion="other"))
    corpus = Corpus(parse=lambda _: (), counts={"role": {"train": 1, "test": 2}})
    report = audit.report("toy", corpus, outcome)
    assert report["counts"]["role"] == {"test": 1, "train": 1}
    assert report["warnings"] == ["role test: 1 utterances kept, 2 published"]
    some = Corpus(parse=lambda _: (), counts={"emotion": {"sad": 1}})
    assert audit.report("toy", some, outcome)["warnings"] == []


@pytest.mark.parametrize("name", get_args(registry.Parser))
def test_every_corpus_can_be_reported(name: str) -> None:
    report = audit.report(name, registry.corpus_of(name), settle(prepared("a")))
    told = sum(len(values) for values in registry.corpus_of(name).counts.values())
    assert bool(report["warnings"]) == bool(told)


def test_equal_audio_of_one_speaker_and_emotion_is_kept_and_told() -> None:
    outcome = settle(prepared("a", "same"), prepared("b", "same"), prepared("c"))
    assert [p.row.utterance for p in outcome.kept] == ["a", "b", "c"]
    report = audit.report("toy", Corpus(parse=lambda _: ()), outcome)
    assert report["duplicates"] == [["a.wav", "b.wav"]]
    assert report["warnings"] == ["the same audio: a.wav, b.wav"]


@pytest.mark.parametrize("other", [{"speaker": "s2"}, {"emotion": "happy"}])
def test_equal_audio_that_contradicts_itself_is_rejected(other: dict[str, str]) -> None:
    outcome = settle(prepared("a", "same"), prepared("b", "same", **other), prepared("c"))
    assert [p.row.utterance for p in outcome.kept] == ["c"]
    assert [p.row.utterance for p in outcome.refused] == ["a", "b"]
    codes = {reject.source: reject.code for reject in outcome.rejects}
    assert codes == {"a.wav": "contradiction", "b.wav": "contradiction", "m.wav": "missing"}


@pytest.mark.parametrize(
    ("one", "other", "clip"), [("talk", "talk~n", "talk~n"), ("x~n", "x", "x~n")]
)
def test_two_sources_of_one_clip_stop(one: str, other: str, clip: str) -> None:
    with pytest.raises(PipelineError) as caught:
        settle(prepared(one), prepared(other))
    told = f"{other}.wav: makes the clip '{clip}', as {one}.wav does, rename one"
    assert told in str(caught.value)


def test_a_damaged_corpus_stops_with_one_line() -> None:
    outcome = settle(*[prepared(str(n)) for n in range(97)], prepared("x", code="truncated"))
    audit.require_sound(Path("raw"), outcome, 0.03)
    with pytest.raises(PipelineError) as caught:
        audit.require_sound(Path("raw"), outcome, 0.01)
    assert str(caught.value).startswith("raw: 2 of 99 utterances rejected (1 missing, 1 truncated")
    assert "preprocess.max_reject_fraction" in str(caught.value)
    with pytest.raises(PipelineError, match="1 of 1"):
        audit.require_sound(Path("raw"), settle(), 1.0)


def test_the_byte_identical_pair_of_ravdess_is_found(corpora_root: Path, tmp_path: Path) -> None:
    raw = corpora_root / "ravdess"
    rows = [row for row in registry.parse("ravdess", raw).rows if row.speaker == "07"]
    places = Places(raw, tmp_path / "clips", tmp_path)
    made = list(prepare_all(rows, PLAIN, places, 0))
    outcome = audit.settle(Parsed(rows, [], []), made)
    pair = [f"Actor_07/03-01-03-01-02-{n}-07.flac" for n in ("01", "02")]
    assert outcome.duplicates == [pair]
    assert len(outcome.kept) == 60
    report = audit.report("ravdess", ravdess.CORPUS, outcome)
    assert f"the same audio: {', '.join(pair)}" in report["warnings"]
    assert "speaker 01: 0 utterances kept, 60 published" in report["warnings"]
