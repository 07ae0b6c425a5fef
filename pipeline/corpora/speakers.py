"""Who speaks: one spelling for each person and session, and none where no one is named.

Were "Anna" and "anna" two people, a split by speaker would put one voice on both sides. `registry`
applies this to every corpus; lists of folds are matched by the same `key`.
"""

import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.corpora.entries import Row

# What stands in a table where the speaker is not known, without marks around it.
NO_ONE = {"", "unknown", "unk", "unkn", "not known", "n/a", "n.a", "na", "nan", "none", "null"}
NO_ONE |= {"nil", "undefined", "unspecified", "unidentified", "unbekannt", "anonymous"}


def key(name: str) -> str:
    """What two spellings of one name share: case, width, accents' form and blanks don't count."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def is_no_one(name: str) -> bool:
    """Whether a name such as ``Unknown``, ``n/a`` or ``?`` names nobody."""
    return key(name).strip(string.punctuation + "–—… ") in NO_ONE


def settled(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with one spelling for each speaker and session, the most frequent, and warnings.

    A name of no one becomes empty.
    """
    speakers = _changes(row.speaker for row in rows)
    sessions = _changes(row.session for row in rows)
    if not speakers and not sessions:
        return list(rows), []
    made = [
        replace(
            row,
            speaker=speakers.get(row.speaker, row.speaker),
            session=sessions.get(row.session, row.session),
        )
        for row in rows
    ]
    # Where no session is given it is the speaker's name: that is told once.
    own = {old: new for old, new in sessions.items() if speakers.get(old) != new}
    return made, [*_told("speaker", speakers), *_told("session", own)]


def _changes(names: Iterable[str]) -> dict[str, str]:
    """The spellings that are replaced, and by what."""
    counts = Counter(names)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in counts:
        groups["" if is_no_one(name) else key(name)].append(name)
    changes: dict[str, str] = {}
    for folded, group in groups.items():
        best = min(group, key=lambda name: (-counts[name], name)) if folded else ""
        changes |= dict.fromkeys(group, unicodedata.normalize("NFC", best))
    return {old: new for old, new in sorted(changes.items()) if old != new}


def _told(field: str, changes: Mapping[str, str]) -> Iterator[str]:
    for old, new in changes.items():
        meaning = f"is taken as {new!r}" if new else "names no one and is taken as unknown"
        yield f"{field} {old!r} {meaning}"
