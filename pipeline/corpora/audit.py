"""The audit of a corpus: what was found, kept and refused, against what its authors published.

`preprocess` builds it from what `pipeline.corpora` parsed and `pipeline.corpora.preparing` made,
before anything is embedded, and stops on a damaged corpus.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.corpora import ratings
from pipeline.corpora.entries import Corpus, Reject, Row
from pipeline.corpora.prepared import Prepared
from pipeline.corpora.registry import Parsed
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

# Above this share of samples at full scale a recording is reported as clipped.
CLIPPED_SHARE = 1e-3
NAMED = 3  # sources that a warning names; audit.json has them all
COUNTED = ("emotion", "speaker", "gender", "session", "intensity", "role")


@dataclass(frozen=True)
class Outcome:
    """What a corpus came to: the utterances kept, every reject, groups of equal audio."""

    parsed: Parsed
    kept: list[Prepared]
    refused: list[Prepared]
    rejects: list[Reject]
    duplicates: list[list[str]]


def settle(parsed: Parsed, prepared: Sequence[Prepared]) -> Outcome:
    """Divide what was prepared into kept and rejected.

    Equal audio under one speaker and emotion is kept and reported. Where these contradict each
    other, none of the group can be trusted and all of it is rejected.

    Raises:
        PipelineError: Two utterances make a clip of one name: one has overwritten the other.
    """
    _require_distinct(prepared)
    duplicates = _duplicates(prepared)
    rejects = [
        *parsed.rejects,
        *(Reject(p.row.source, p.code, p.detail, p.row.label) for p in prepared if p.code),
    ]
    refused: list[Prepared] = []
    for group in duplicates:
        if len({(p.row.speaker, p.row.emotion) for p in group}) > 1:
            for one, other in zip(group, group[1:] + group[:1], strict=True):
                detail = f"the audio of {other.row.source} under another speaker or emotion"
                rejects.append(Reject(one.row.source, "contradiction", detail, one.row.label))
            refused += group
    names = {p.row.utterance for p in refused}
    return Outcome(
        parsed=parsed,
        kept=[p for p in prepared if not p.code and p.row.utterance not in names],
        refused=refused,
        rejects=sorted(rejects, key=lambda reject: (reject.source, reject.code)),
        duplicates=[[p.row.source for p in group] for group in duplicates],
    )


def report(name: str, corpus: Corpus, outcome: Outcome) -> dict[str, Any]:
    """The audit as JSON-like data."""
    segments = [segment for p in outcome.kept for segment in p.segments]
    sources = [(p.row, p.source) for p in outcome.kept if p.source]
    counts = {c: _tally(getattr(p.row, c) for p in outcome.kept) for c in COUNTED}
    found = len(outcome.kept) + len(outcome.rejects) + len(outcome.parsed.out_of_scope)
    return {
        "corpus": name,
        "found": found,
        "kept": len(outcome.kept),
        "files": _account(
            [p.row.source for p in outcome.kept],
            [reject.source for reject in outcome.rejects if reject.code != "missing"],
            [one.source for one in outcome.parsed.out_of_scope],
        ),
        "label_rows": _account(
            [p.row.label for p in outcome.kept],
            [reject.label for reject in outcome.rejects],
            [one.label for one in outcome.parsed.out_of_scope],
        ),
        "out_of_scope": _tally(o.reason for o in outcome.parsed.out_of_scope),
        "rejected": _tally(reject.code for reject in outcome.rejects),
        "clips": len(segments),
        "duration_s": round(sum(s.duration_s for s in segments if s.parent is None), 3),
        "counts": counts,
        **ratings.report([p.row for p in outcome.kept], corpus.ranges),
        "published": {column: dict(values) for column, values in corpus.counts.items()},
        "sample_rates_hz": _tally(str(source.sample_rate_hz) for _, source in sources),
        "channels": _tally(str(source.channels) for _, source in sources),
        "clipped": _clipped(outcome),
        "notes": _notes(outcome),
        "duplicates": outcome.duplicates,
        "warnings": list(_warnings(corpus, counts, outcome)),
    }


def require_sound(folder: Path, outcome: Outcome, max_reject_fraction: float) -> None:
    """Stop on a damaged corpus.

    Raises:
        PipelineError: More than ``max_reject_fraction`` of the utterances was rejected.
    """
    total = len(outcome.kept) + len(outcome.rejects)
    if len(outcome.rejects) <= max_reject_fraction * total and outcome.kept:
        return
    codes = Counter(reject.code for reject in outcome.rejects)
    listed = ", ".join(f"{count} {code}" for code, count in codes.most_common())
    first = outcome.rejects[0]
    raise PipelineError(
        f"{folder}: {len(outcome.rejects)} of {total} utterances rejected ({listed}; first "
        f"{first.source}: {first.detail}), at most {max_reject_fraction:.1%} is allowed, mend "
        "them or raise preprocess.max_reject_fraction"
    )


def write(folder: Path, rejects: Iterable[Reject], audited: Mapping[str, Any]) -> None:
    """Write ``rejects.csv`` and ``audit.json``."""
    files.write_json(folder / "audit.json", audited)
    rows = ([reject.source, reject.code, reject.detail] for reject in rejects)
    files.write_csv(folder / "rejects.csv", ["source", "code", "detail"], rows)


def _account(
    kept: Sequence[str], rejected: Sequence[str], out_of_scope: Sequence[str]
) -> dict[str, int]:
    """How many files or label rows went where, a file with several rows where most hope is."""
    lists = {"kept": kept, "rejected": rejected, "out_of_scope": out_of_scope}
    seen = {""}
    counts = {}
    for name, keys in lists.items():
        counts[name] = len(set(keys) - seen)
        seen |= set(keys)
    return {"found": len(seen) - 1, **counts}


def _require_distinct(prepared: Iterable[Prepared]) -> None:
    made: dict[str, str] = {}
    for p in prepared:
        for segment in p.segments:
            clip = p.row.utterance + segment.suffix
            if clip in made:
                raise PipelineError(
                    f"{p.row.source}: makes the clip {clip!r}, as {made[clip]} does, rename one"
                )
            made[clip] = p.row.source


def _duplicates(prepared: Iterable[Prepared]) -> list[list[Prepared]]:
    """Groups of utterances whose decoded samples are equal, in order of source."""
    groups: dict[tuple[str, ...], list[Prepared]] = defaultdict(list)
    for p in prepared:
        if p.segments:
            groups[tuple(s.sha256 for s in p.segments if s.parent is None)].append(p)
    return [group for group in groups.values() if len(group) > 1]


def _tally(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, in order of value; the empty one is left out."""
    return {value: count for value, count in sorted(Counter(values).items()) if value}


def _clipped(outcome: Outcome) -> list[str]:
    """The sources with more than `CLIPPED_SHARE` of a part at full scale."""
    loud = (p for p in outcome.kept if p.source and p.source.clipped > CLIPPED_SHARE)
    return list(dict.fromkeys(p.row.source for p in loud))


def _notes(outcome: Outcome) -> dict[str, list[str]]:
    """The sources that were read in spite of their header, by what is to be said of them."""
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    for p in outcome.kept:
        if p.source and p.source.note:
            notes[p.source.note][p.row.source] = None
    return {note: list(sources) for note, sources in sorted(notes.items())}


def _some(sources: Sequence[str]) -> str:
    named = ", ".join(sources[:NAMED])
    return named if len(sources) <= NAMED else f"{named} and {len(sources) - NAMED} more"


def _warnings(
    corpus: Corpus,
    counts: Mapping[str, Mapping[str, int]],
    outcome: Outcome,
) -> Iterator[str]:
    for column, expected in corpus.counts.items():
        for value, told in sorted(expected.items()):
            if (held := counts[column].get(value, 0)) != told:
                yield f"{column} {value}: {held} utterances kept, {told} published"
    if clipped := _clipped(outcome):
        yield f"more than {CLIPPED_SHARE:.1%} of samples at full scale (clipped): {_some(clipped)}"
    for note, sources in _notes(outcome).items():
        yield f"{note}: {_some(sources)}"
    yield from outcome.parsed.warnings
    yield from ratings.warnings([p.row for p in outcome.kept], corpus.ranges)
    yield from _two_genders(p.row for p in outcome.kept)
    for group in outcome.duplicates:
        yield f"the same audio: {', '.join(group)}"


def _two_genders(rows: Iterable[Row]) -> Iterator[str]:
    """Speakers that are a woman here and a man there: a slip, or two people of one name."""
    genders: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.speaker and row.gender != "unknown":
            genders[row.speaker][row.gender] += 1
    for speaker, counts in sorted(genders.items()):
        if len(counts) > 1:
            told = ", ".join(f"{n} {gender}" for gender, n in sorted(counts.items()))
            yield f"speaker {speaker!r} has two genders: utterances {told}"
