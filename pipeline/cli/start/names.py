"""Labels from the names of files and folders: by a pattern, or by where emotions stand in them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from pipeline.cli.start.rows import Found, Labelled
from pipeline.corpora import spellings
from pipeline.ground.errors import PipelineError

FIELDS = ("emotion", "speaker", "gender", "session", "language")
KNOWN = 0.6  # of the files have a known emotion where it stands,
EMOTIONS = 2  # at least so many
SPOKEN = 0.7  # of a speaker's place: so many of its values are heard in several emotions
_SPEAKER = re.compile(
    r"(speaker|spkr?|actor|actress|subj(ect)?|participant|talker|[fmsp])[-_ ]?\d+"
)

# A part of a path: folders counted from the top or the file, words of the file's name from its
# start or its end.
Place = tuple[str, int]


def by_pattern(files: Sequence[str], pattern: str) -> Found:
    """The rows of files whose path without suffix is like ``{speaker}/{emotion}_{}``.

    Raises:
        PipelineError: The pattern is malformed or has no ``{emotion}``, or no file fits it.
    """
    form = _regex(pattern)
    matches = {file: form.fullmatch(_bare(file)) for file in files}
    rows = [Labelled(file, **m.groupdict()) for file, m in matches.items() if m]
    if not rows:
        raise PipelineError(
            f"--pattern: no file is like {pattern!r}, the first is {_bare(files[0])!r}; "
            "write the path below the folder, without suffix"
        )
    how = [f"names like {pattern}: {len(rows)} of {len(files)} files"]
    if rest := [file for file, m in matches.items() if not m]:
        how.append(f"not like it, left out: {len(rest)}, the first {rest[0]}")
    return Found(rows, how)


def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w*)\}", pattern)
    names = [name for name in parts[1::2] if name]
    strange = [name for name in names if name not in FIELDS or names.count(name) > 1]
    if strange or "emotion" not in names:
        raise PipelineError(
            f"--pattern: must have {{emotion}} and may have {', '.join(FIELDS[1:])} in braces, "
            f"each once, {{}} for anything else, got {pattern!r}"
        )
    inner = [f"(?P<{name}>[^/]+?)" if name else ".+?" for name in parts[1::2]]
    text = [re.escape(part) for part in parts[::2]]
    return re.compile("".join(a + b for a, b in zip(text, [*inner, ""], strict=True)))


def guessed(files: Sequence[str]) -> Found | None:
    """The rows of files whose names or folders tell the emotion, and maybe the speaker.

    None where no place in them holds known emotions in most of the files.
    """
    values: dict[Place, dict[str, str]] = defaultdict(dict)
    for file in files:
        for place, value in _places(file):
            values[place][file] = value
    emotion = _emotion_place(values, len(files))
    if not emotion:
        return None
    of_emotion = values.pop(emotion)
    speaker = _speaker_place(values, of_emotion)
    of_speaker = values[speaker] if speaker else {}
    rows = [Labelled(f, of_emotion[f], of_speaker.get(f, "")) for f in files if f in of_emotion]
    how = [f"emotion: {_told(emotion)}, such as {_some(of_emotion)}"]
    how.append(
        f"speaker: {_told(speaker)}, such as {_some(of_speaker)}"
        if speaker
        else "speaker: found nowhere; give --pattern where the names tell it"
    )
    if rest := len(files) - len(rows):
        how.append(f"no such place in the name, left out: {rest} files")
    return Found(rows, how)


def _bare(file: str) -> str:
    path = PurePosixPath(file)
    return str(path.with_suffix("")) if path.suffix else file


def _places(file: str) -> Iterator[tuple[Place, str]]:
    *folders, name = _bare(file).split("/")
    words = [word for word in re.split(r"[_\-.\s]+", name) if word]
    letters = re.findall(r"[^\W\d_]+", name)
    for what, parts in (("folder", folders), ("word", words), ("letters", letters)):
        for number, part in enumerate(parts):
            yield (what, number), part
            yield (what, number - len(parts)), part


def _emotion_place(values: Mapping[Place, Mapping[str, str]], files: int) -> Place | None:
    def known(place: Place) -> int:
        found = [spellings.canonical(value) for value in values[place].values()]
        few = len(set(found) - {None}) < EMOTIONS
        return 0 if few else sum(one is not None for one in found)

    best = max(values, key=known, default=None)
    return best if best and known(best) >= KNOWN * files else None


def _speaker_place(
    values: Mapping[Place, Mapping[str, str]], emotions: Mapping[str, str]
) -> Place | None:
    """Where each value is heard in several emotions, and looks as names of speakers do."""
    scores = {place: _likeness(place, held, emotions) for place, held in values.items()}
    best = max(scores, key=lambda place: scores[place], default=None)
    return best if best and scores[best] > 0 else None


def _likeness(place: Place, held: Mapping[str, str], emotions: Mapping[str, str]) -> float:
    what, number = place
    heard: dict[str, set[str]] = defaultdict(set)
    for file, value in held.items():
        heard[value].add(emotions.get(file, ""))
    spoken = sum(len(found) >= EMOTIONS for found in heard.values()) / len(heard)
    one_each = 2 <= len(heard) <= len(held) / 2
    if what == "letters" or not one_each or spoken < SPOKEN or len(held) < len(emotions):
        return 0
    named = sum(bool(_SPEAKER.fullmatch(value.casefold())) for value in heard) / len(heard)
    counts = all(value.isdigit() for value in heard)
    # Numbers that stand first or in a folder may be speakers; elsewhere they are takes.
    first = what == "folder" or number == 0
    return 3 * named + (2 if what == "folder" else 0) + (1 if first else 0) - (counts and not first)


def _told(place: Place) -> str:
    what, number = place
    kind = {"folder": "the folder", "word": "the word", "letters": "the letters"}[what]
    where = f"number {number + 1}" if number >= 0 else f"number {-number} from the end"
    return f"{kind} {where} of {'the path' if what == 'folder' else 'the name'}"


def _some(values: Mapping[str, str]) -> str:
    counts = Counter(values.values()).most_common(4)
    return ", ".join(f"{value} ({count})" for value, count in counts)
