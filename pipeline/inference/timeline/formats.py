"""What was heard as text: a table, JSON lines or CSV; labels of Audacity, tiers of ELAN and Praat.

ELAN: EAF 3.0. Praat: the long TextGrid of its manual. In both a tier holds no two annotations at
once: there is one for each speaker, and more where overlapping windows need them.
"""

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.inference.timeline.opinions import Heard, Opinion

Lines = Callable[[Heard, Sequence[str]], str]
Tiers = dict[str, list[Opinion]]


@dataclass(frozen=True)
class Format:
    """``text`` is of one recording; ``header`` stands once before all of them.

    A document (``suffix``) is a file of its own for each recording.
    """

    text: Lines
    header: Callable[[Sequence[str]], str] = lambda _: ""  # of the columns behind the place
    suffix: str = ""


def printable(text: str) -> str:
    """As it is, but the bytes of a name that is not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_table(heard: Heard, classes: Sequence[str]) -> str:
    """The whole file, then what it is made of where that is several parts or has speakers."""
    # A name may hold what separates columns and rows.
    named = printable(str(heard.file)).translate({9: "\\t", 10: "\\n", 13: "\\r"})
    rows = []
    for name, opinion in [(named, heard.whole), *((one.speaker, one) for one in _parts(heard))]:
        shown = [f"{opinion.told[c]:.3f}" for c in classes]
        where = [f"{opinion.start_s:.2f}", f"{opinion.end_s:.2f}"]
        rows.append("\t".join([name, *where, *_labels(opinion), *shown]))
    return "\n".join(rows)


def as_json(heard: Heard, _: Sequence[str]) -> str:
    """One line: the whole, and ``clips``."""
    told = {"file": printable(str(heard.file)), **plain(heard.whole)}
    return json.dumps({**told, "clips": [plain(c) for c in heard.clips]}, ensure_ascii=False)


def plain(opinion: Opinion) -> dict[str, object]:
    """One opinion as JSON has it."""
    speaker = {"speaker": opinion.speaker} if opinion.speaker else {}
    where = {"start_s": opinion.start_s, "end_s": opinion.end_s, **speaker}
    if opinion.values:
        return {**where, "values": opinion.values}
    return {**where, "emotion": opinion.label, "probabilities": opinion.probabilities}


def as_csv(heard: Heard, classes: Sequence[str]) -> str:
    """A row for each part."""
    return _csv(
        [
            printable(str(heard.file)),
            f"{one.start_s:.3f}",
            f"{one.end_s:.3f}",
            one.speaker,
            *_labels(one),
            *(f"{one.told[c]:.6f}" for c in classes),
        ]
        for one in heard.clips
    )


def as_audacity(heard: Heard, _: Sequence[str]) -> str:
    """A label track: start, end and text, separated by tabs."""
    rows = [
        f"{one.start_s:.6f}\t{one.end_s:.6f}\t{' '.join(_label(one).split())}"
        for one in heard.clips
    ]
    return "\n".join(rows)


def as_elan(heard: Heard, _: Sequence[str]) -> str:
    """An annotation document with a tier for each speaker; times in milliseconds."""
    schema = "http://www.w3.org/2001/XMLSchema-instance"
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": "1970-01-01T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": schema,
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    head = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    name = printable(heard.file.name)
    media = {"MEDIA_URL": name, "MIME_TYPE": "audio/x-wav", "RELATIVE_MEDIA_URL": f"./{name}"}
    ET.SubElement(head, "MEDIA_DESCRIPTOR", media)
    times, count = ET.SubElement(root, "TIME_ORDER"), 0
    for tier, held in _tiers(heard).items():
        written = ET.SubElement(
            root, "TIER", {"LINGUISTIC_TYPE_REF": "emotion", "TIER_ID": _clean(tier)}
        )
        for one in held:
            count += 1
            slots = {"TIME_SLOT_REF1": f"ts{2 * count - 1}", "TIME_SLOT_REF2": f"ts{2 * count}"}
            for slot, at_s in zip(slots.values(), (one.start_s, one.end_s), strict=True):
                place = {"TIME_SLOT_ID": slot, "TIME_VALUE": str(round(at_s * 1000))}
                ET.SubElement(times, "TIME_SLOT", place)
            outer = ET.SubElement(written, "ANNOTATION")
            inner = {"ANNOTATION_ID": f"a{count}", **slots}
            alignable = ET.SubElement(outer, "ALIGNABLE_ANNOTATION", inner)
            ET.SubElement(alignable, "ANNOTATION_VALUE").text = one.text
    kind = {
        "GRAPHIC_REFERENCES": "false",
        "LINGUISTIC_TYPE_ID": "emotion",
        "TIME_ALIGNABLE": "true",
    }
    ET.SubElement(root, "LINGUISTIC_TYPE", kind)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode")


def as_textgrid(heard: Heard, _: Sequence[str]) -> str:
    """Interval tiers that cover the whole recording, empty where nothing was judged."""
    tiers, end_s = _tiers(heard), heard.duration_s
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0 ", f"xmax = {end_s!r} ", "tiers? <exists> ", f"size = {len(tiers)} "]
    lines += ["item []: "]
    for number, (name, held) in enumerate(tiers.items(), 1):
        intervals = _covering(held, end_s)
        lines += [f"    item [{number}]:", '        class = "IntervalTier" ']
        lines += [f"        name = {_quoted(name)} ", "        xmin = 0 "]
        lines += [f"        xmax = {end_s!r} ", f"        intervals: size = {len(intervals)} "]
        for place, (start_s, stop_s, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start_s!r} "]
            lines += [f"            xmax = {stop_s!r} ", f"            text = {_quoted(text)} "]
    return "\n".join(lines)


def _parts(heard: Heard) -> Sequence[Opinion]:
    several = len(heard.clips) > 1 or any(one.speaker for one in heard.clips)
    return heard.clips if several else ()


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


def _label(one: Opinion) -> str:
    return f"{one.speaker}: {one.text}" if one.speaker else one.text


def _labels(one: Opinion) -> list[str]:
    """The column that a target without labels lacks."""
    return [one.label] if one.probabilities else []


def _tiers(heard: Heard) -> Tiers:
    """The parts of each speaker, on as many tiers as it takes for no two to overlap."""
    tiers: Tiers = {}
    for one in sorted(heard.clips, key=lambda clip: (clip.start_s, clip.end_s)):
        name, number = one.speaker or "emotion", 1
        while (lane := _lane(name, number)) in tiers and tiers[lane][-1].end_s > one.start_s:
            number += 1
        tiers.setdefault(lane, []).append(one)
    return tiers


def _lane(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"


def _covering(held: Sequence[Opinion], end_s: float) -> list[tuple[float, float, str]]:
    found, at_s = [], 0.0
    for one in held:
        if one.start_s > at_s:
            found.append((at_s, one.start_s, ""))
        found.append((one.start_s, one.end_s, one.text))
        at_s = one.end_s
    return [*found, (at_s, end_s, "")] if end_s > at_s else found


def _quoted(text: str) -> str:
    doubled = _clean(text).replace('"', '""')
    return f'"{doubled}"'


def _clean(text: str) -> str:
    """Without what XML and a line of text cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)


FORMATS: Mapping[str, Format] = {
    "table": Format(as_table, lambda classes: "\t".join(["file", "start_s", "end_s", *classes])),
    "json": Format(as_json),
    "csv": Format(
        as_csv,
        lambda classes: _csv([["file", "start_s", "end_s", "speaker", *classes]]),
    ),
    "audacity": Format(as_audacity, suffix=".txt"),
    "elan": Format(as_elan, suffix=".eaf"),
    "textgrid": Format(as_textgrid, suffix=".TextGrid"),
}
