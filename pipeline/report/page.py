"""The report: one self-contained page that opens offline, in any width, light or dark.

A page is a list of sections; `pipeline.report.sections` has those of a run. Nothing is loaded from
anywhere but its own folder: styles are inline and pictures are embedded, recordings and another
page may lie beside it. Its bytes follow from the sections alone.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

TITLE = "Speech emotion recognition: what was measured"

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6675; --page: #ffffff;
  --line: #d9dee5; --band: #f4f6f9; --accent: #1f4e79; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adba; --page: #14181e;
  --line: #343c47; --band: #1d232b; --accent: #8fc1ef; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem;
  background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; color: var(--accent); }
h3 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
p { max-width: 44rem; }
.note { color: var(--soft); font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.86rem; }
th, td { padding: 0.3rem 0.55rem; text-align: right; border-bottom: 1px solid var(--line); }
td { white-space: nowrap; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0.2rem; position: sticky;
  left: 0; background: var(--page); }
tbody tr:hover td { background: var(--band); }
.pictures { columns: 26rem; column-gap: 1rem; margin-top: 1rem; }
figure { margin: 0 0 1rem; padding: 0.75rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: 0.4rem; break-inside: avoid; }
img { display: block; width: 100%; max-width: 44rem; height: auto; margin: 0 auto; }
object { width: 100%; height: 26rem; border: 1px solid var(--line); border-radius: 0.4rem; }
audio { display: block; width: 15rem; height: 2rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.88rem; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 0.4rem;
  padding: 0.8rem 1rem; overflow-x: auto; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; font-size: 0.9rem; }
a { color: var(--accent); }
@media (max-width: 40rem) {
  /* The column that stays must leave room for those that move, and a picture its letters. */
  th:first-child, td:first-child { max-width: 45vw; white-space: normal; }
  figure { overflow-x: auto; }
  img { width: 32rem; max-width: none; }
}
@media print { body { max-width: none; } }
"""


@dataclass(frozen=True)
class Player:
    """A cell that plays a recording, which lies beside the page under this relative path."""

    file: str


@dataclass(frozen=True)
class Table:
    """Rows under a header; None is shown as a dash, a float with three decimals."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order; all text is plain.

    ``pictures`` are PNG files, whose names say what they are. ``folded`` are long texts by title.
    ``beside`` names a page in the same folder, shown where it is there.
    """

    heading: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Path] = ()
    code: str = ""
    folded: Sequence[tuple[str, str]] = ()
    beside: str = ""


def interval(scores: Mapping[str, Any], name: str) -> str | None:
    """A score's 95 % interval as a table shows it; None where there is none."""
    if f"{name}_low" not in scores:
        return None
    return f"{scores[f'{name}_low']:.3f} to {scores[f'{name}_high']:.3f}"


def page(sections: Sequence[Section], title: str = TITLE) -> str:
    """The page, as HTML."""
    links = [f'<a href="#{_anchor(s)}">{escape(s.heading)}</a>' for s in sections]
    body = [f"<h1>{title}</h1>", f"<nav>{' '.join(links)}</nav>"]
    for section in sections:
        body += _section(section)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(section: Section) -> list[str]:
    pictures = [_picture(path) for path in section.pictures]
    return [
        f'<h2 id="{_anchor(section)}">{escape(section.heading)}</h2>',
        *(f"<p>{escape(note)}</p>" for note in section.notes),
        *(_table(table) for table in section.tables),
        *(['<div class="pictures">', *pictures, "</div>"] if pictures else []),
        *([f"<pre>{escape(section.code)}</pre>"] if section.code else []),
        *([_beside(section.beside)] if section.beside else []),
        *(
            f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"
            for title, text in section.folded
        ),
    ]


def _anchor(section: Section) -> str:
    return section.heading.lower().replace(" ", "-")


def _beside(name: str) -> str:
    return f'<object type="text/html" data="{name}">{name} is not beside this page.</object>'


def _picture(path: Path) -> str:
    data, told = base64.b64encode(path.read_bytes()).decode(), escape(path.stem.replace("-", " "))
    return f'<figure><img alt="{told}" src="data:image/png;base64,{data}"></figure>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    body = "\n".join(f"<tr>{''.join(_cell(v) for v in row)}</tr>" for row in table.rows)
    caption = f"<h3>{escape(table.caption)}</h3>\n" if table.caption else ""
    return (
        f'{caption}<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>'
        "</table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, Player):
        name = escape(value.file)
        return f'<td><audio controls preload="none" src="{name}">{name}</audio></td>'
    text = "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return f"<td>{escape(text)}</td>"
