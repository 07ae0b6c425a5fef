"""The report: one self-contained page that opens offline, in any width, light or dark.

Last in the flow of the data: scores, pictures and audits in, ``results/report.html`` out. Nothing
is loaded from anywhere: styles are inline and pictures are embedded. Its bytes follow from these.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.scores import Scores

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
.pictures { columns: 26rem; column-gap: 1rem; }
figure { margin: 0 0 1rem; padding: 0.75rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: 0.4rem; break-inside: avoid; }
img { display: block; width: 100%; max-width: 44rem; height: auto; margin: 0 auto; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.88rem; }
pre { background: var(--band); border: 1px solid var(--line); border-radius: 0.4rem;
  padding: 0.8rem 1rem; overflow-x: auto; }
@media print { body { max-width: none; } }
"""

Row = Sequence[object]


def render(
    scores: Scores,
    audits: Mapping[str, Mapping[str, Any]],
    pictures: Sequence[Path],
    settings: Mapping[str, object],
) -> str:
    """The page, as HTML.

    Args:
        scores: What ``results/scores.json`` holds.
        audits: What ``audit.json`` holds, by corpus.
        pictures: PNG files, shown in this order; their names say what they are.
        settings: The sections of ``params.yaml`` that led to the scores.
    """
    body = [
        "<h1>Speech emotion recognition: what was measured</h1>",
        *_protocol(scores["protocol"], audits),
        *_emotion(scores["emotion"]),
        *_share(scores["share"]),
        *_pictures(pictures),
        *_audits(audits),
        *_reproduce(settings),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>SER pipeline: report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _protocol(protocol: Mapping[str, Any], audits: Mapping[str, Any]) -> list[str]:
    independent = protocol["speaker_independent"]
    kind = (
        "speaker-independent: no test speaker was ever in train or dev"
        if independent
        else "<strong>not speaker-independent</strong>: speakers (or unnamed ones) are on both "
        "sides, so these scores overstate what a new speaker would get"
    )
    folds = ", ".join(str(fold) for fold in protocol["folds"])
    lines = [
        f"<p>Folds by {escape(str(protocol['by']))}, {kind}. Folds {escape(folds)} of "
        f"{protocol['of']} were run, with seed {protocol['seed']}. Scores pool the test utterances "
        "of all folds; sd is over folds. Intervals are 95 %, by a bootstrap over speakers "
        f"({protocol['resamples']} resamples), and none is given below five speakers. "
        "An utterance counts once, with the mean of its clips' logits.</p>"
    ]
    if "demo" in audits:
        lines.append(
            '<p class="note">The corpus <code>demo</code> is synthetic: its scores measure the '
            "machinery, not people.</p>"
        )
    return lines


def _emotion(emotion: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    systems = [(s, m, scores) for s, methods in emotion.items() for m, scores in methods.items()]
    if not systems:
        return []
    classes = list(dict.fromkeys(name for *_, scores in systems for name in scores["recall"]))
    recalls = [[f"{s} {m}", *(c["recall"].get(n) for n in classes)] for s, m, c in systems]
    parts = [[f"{s} {m}", n, *_main(c)] for s, m, x in systems for n, c in x["corpora"].items()]
    return [
        "<h2>Emotion</h2>",
        _table(["start, method", *MAIN], [[f"{s} {m}", *_main(c)] for s, m, c in systems]),
        '<p class="note">UAR: unweighted average recall. WAR: accuracy, also micro F1. EER: equal '
        "error rate, one class against the rest, at the threshold where both errors are equal. EER "
        "at argmax: the mean of both errors of the decisions made, as one of the papers reports "
        "it.</p>",
        *(
            ["<h3>By corpus</h3>", _table(["start, method", "corpus", *MAIN], parts)]
            if parts
            else []
        ),
        "<h3>Recall by class</h3>",
        _table(["start, method", *classes], recalls),
    ]


MAIN = ["UAR", "95\u00a0%", "fold mean", "fold sd", "WAR", "F1 macro", "F1 weighted", "EER"]
MAIN += ["EER at argmax", "utterances", "speakers"]


def _main(scores: Scores) -> Row:
    keys = ("uar_mean", "uar_sd", "war", "f1_macro", "f1_weighted", "eer", "eer_argmax")
    return [
        scores.get("uar"),
        _interval(scores, "uar"),
        *(scores.get(key) for key in keys),
        scores["utterances"],
        scores["speakers"],
    ]


def _share(share: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    systems = [(f, h, scores) for f, heads in share.items() for h, scores in heads.items()]
    if not systems:
        return []
    emotions = list(dict.fromkeys(e for *_, scores in systems for e in scores.get("rho_of", {})))
    rows = [
        [
            f"{features} {head}",
            scores.get("rho"),
            _interval(scores, "rho"),
            *(scores.get("rho_of", {}).get(emotion) for emotion in emotions),
            scores["utterances"],
            scores["speakers"],
        ]
        for features, head, scores in systems
    ]
    header = ["features, head", "mean\u00a0ρ", "95\u00a0%", *emotions, "utterances", "speakers"]
    return [
        "<h2>Emotion share</h2>",
        _table(header, rows),
        '<p class="note">Spearman\'s ρ between predicted and true shares on test utterances whose '
        "truth is known.</p>",
    ]


def _pictures(pictures: Sequence[Path]) -> list[str]:
    figures = [
        f'<figure><img alt="{escape(path.stem)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}"></figure>'
        for path in pictures
    ]
    return ["<h2>Pictures</h2>", '<div class="pictures">', *figures, "</div>"] if figures else []


def _audits(audits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not audits:
        return []
    rows = [
        [
            name,
            audit["found"],
            audit["kept"],
            sum(audit["out_of_scope"].values()),
            sum(audit["rejected"].values()),
            audit["clips"],
            f"{audit['duration_s'] / 60:.1f}",
            len(audit["counts"].get("speaker", {})),
        ]
        for name, audit in audits.items()
    ]
    header = ["corpus", "found", "kept", "out of scope", "rejected", "clips", "minutes", "speakers"]
    warnings = [f"{n}: {w}" for n, audit in audits.items() for w in audit["warnings"]]
    listed = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return ["<h2>Corpora</h2>", _table(header, rows), f"<ul>{listed}</ul>" if listed else ""]


def _reproduce(settings: Mapping[str, object]) -> list[str]:
    text = io.StringIO()
    YAML().dump(dict(settings), text)
    return [
        "<h2>Reproduce</h2>",
        "<pre>git checkout &lt;the commit that holds this dvc.lock&gt;\nmake demo   # or: dvc repro"
        "</pre>",
        "<details><summary>The settings of this run, from params.yaml</summary>"
        f"<pre>{escape(text.getvalue())}</pre></details>",
    ]


def _interval(scores: Scores, name: str) -> str | None:
    if f"{name}_low" not in scores:
        return None
    return f"{scores[f'{name}_low']:.3f} to {scores[f'{name}_high']:.3f}"


def _table(header: Sequence[str], rows: Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "\n".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>'
        "</table></div>"
    )


def _cell(value: object) -> str:
    text = "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return f"<td>{escape(text)}</td>"
