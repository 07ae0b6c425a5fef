"""From a corpus as its authors ship it to clean 16 kHz clips with honest metadata."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, field_validator

from pipeline.audio.augmentation import Augmentation
from pipeline.audio.segments import Cutting
from pipeline.corpora import audit, manifest, published, registry
from pipeline.corpora.entries import Choice
from pipeline.corpora.preparing.clips import clips_of, remove
from pipeline.corpora.preparing.utterance import Settings
from pipeline.corpora.preparing.workers import Places, prepare_all
from pipeline.ground import files, locks, progress, provenance, stage
from pipeline.ground.params import Section, load
from pipeline.units import phones
from pipeline.work.cluster import likeness

RAW = Path("data/raw")


class CorpusParams(Section):
    """One corpus of the section ``corpus``: which parser reads it, and its language.

    A database in audformat may say which table and column hold the emotion.
    """

    parser: registry.Parser
    language: str
    table: str = ""
    column: str = ""


class PreprocessParams(Cutting):
    """How utterances become clips, and how much damage is tolerated."""

    max_utterance_s: Annotated[float, Field(gt=0, le=86_400)]
    augment: list[Augmentation]
    max_reject_fraction: Annotated[float, Field(ge=0, le=1)]

    @field_validator("augment")
    @classmethod
    def _differ(cls, augment: list[Augmentation]) -> list[Augmentation]:
        if len({one.name for one in augment}) < len(augment):
            raise ValueError("of names that differ")
        return augment


def main(
    corpus: Annotated[str, typer.Option(help="A corpus of params.yaml, under data/raw.")],
    unlabelled: Annotated[
        bool, typer.Option(help="It is to pretrain on, and never scored.")
    ] = False,
) -> None:
    """Decode, audit and cut one corpus into 16 kHz clips."""
    manifest.require_name(corpus)
    params = load("preprocess", PreprocessParams)
    definition = load(f"corpus.{corpus}", CorpusParams)
    settings = Settings(
        max_clip_s=params.max_clip_s,
        last_clip=params.last_clip,
        max_utterance_s=params.max_utterance_s,
        trim_db=params.trim_db,
        augment=tuple(params.augment),
        seed=load("seed", int),
    )
    raw = RAW / corpus
    known = registry.corpus_of(definition.parser)
    choice = Choice(definition.table, definition.column)
    parsed = registry.parse(definition.parser, raw, choice)
    version = load("numerics_version", int)
    inputs = [version, likeness.cpu()]
    key = stage.resume_key("preprocess", repr(settings), inputs, definition.parser)
    scratch = locks.scratch(key)
    target = (manifest.UNLABELLED if unlabelled else manifest.CLIPS) / corpus
    made = provenance.Provenance.of(target, _keys(corpus, params), [])
    with files.publish(target) as staged:
        places = Places(raw, staged, scratch)
        runtime = stage.runtime()
        done = prepare_all(parsed.rows, settings, places, runtime.workers, runtime.engine)
        shown = progress.track(done, f"preprocess {corpus}", len(parsed.rows), "files")
        outcome = audit.settle(parsed, list(shown))
        audit.require_sound(raw, outcome, params.max_reject_fraction)
        for refused in outcome.refused:
            remove(refused, staged)
        cut = (clips_of(p, corpus, definition.language) for p in outcome.kept)
        clips = list(chain.from_iterable(cut))
        manifest.write(staged / "manifest.csv", clips)
        phones.carry_over(raw, clips, staged)
        report = audit.report(corpus, known, outcome)
        audit.write(staged, outcome.rejects, report)
        kept = [prepared.row for prepared in outcome.kept]
        published.write(staged, published.partitions(corpus, known, kept), known.shared)
        made.write(staged)
    for warning in report["warnings"]:
        progress.say(f"{corpus}: {warning}")
    if emotions := report["counts"]["emotion"]:
        counts = ", ".join(f"{count} {emotion}" for emotion, count in emotions.items())
        progress.say(f"{corpus}: {counts}")
    progress.say(f"{corpus}: {report['kept']} of {report['found']} files kept, see audit.json")


def _keys(corpus: str, params: PreprocessParams) -> list[str]:
    """What the clips depend on: how many may be rejected is no part of it, nor an unused seed."""
    sections = (f"preprocess.{name}" for name in PreprocessParams.model_fields)
    own = [name for name in sections if name != "preprocess.max_reject_fraction"]
    return [*own, f"corpus.{corpus}", "numerics_version", *(["seed"] if params.augment else [])]


if __name__ == "__main__":
    stage.run(main)
