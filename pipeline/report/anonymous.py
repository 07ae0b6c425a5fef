"""Numbers in the place of speakers' names: the report is meant to be sent to others."""

import re
import unicodedata
from collections.abc import Iterable, Mapping


def numbered(speakers: Iterable[str]) -> Mapping[str, str]:
    """``speaker 1`` and so on for each name, in their order; the empty one is unknown."""
    names = sorted(set(speakers) - {""})
    return {"": "unknown"} | {name: f"speaker {n}" for n, name in enumerate(names, 1)}


def without_names(text: str, speakers: Iterable[str]) -> str:
    """A line of an audit with each speaker's name replaced, in file names too.

    A name without letters, such as a number, names no one and stays.
    """
    text = unicodedata.normalize("NFC", text)
    names = numbered(unicodedata.normalize("NFC", name) for name in speakers)
    for name in sorted(names, key=len, reverse=True):
        if any(character.isalpha() for character in name):
            # Between other letters it is no name; of one letter, in either case, neither.
            alone = rf"(?<![^\W\d_])(speaker )?{re.escape(name)}(?![^\W\d_])"
            flags = re.IGNORECASE if len(name) > 2 else re.NOFLAG
            text = re.sub(alone, names[name], text, flags=flags)
    return text
