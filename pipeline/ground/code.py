"""Which code decides a stage's result: the digest of its import closure, less what can't matter.

The stage `code` writes ``code.yaml``, which maps each stage to its digest; `dvc.yaml` names that
key in the stage's ``params``. So a changed line reruns the stages that can reach it, and a comment
or a docstring reruns none. `ground` is left out: it decides no number. Libraries are left out too;
the parameter ``numerics_version`` stands for them. Resumable work is keyed by the same digest.
"""

import ast
import hashlib
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pipeline.ground.errors import PipelineError

ROOT = Path(__file__).resolve().parents[2]
GROUND = Path("pipeline/ground")
FILE = Path("code.yaml")
# The one stage whose code differs by corpus: another parser reads each.
BY_CORPUS = "preprocess"
# What computes nothing that is kept: `plan` must never prune because a line of it changed.
WITHOUT = ("code", "plan")

Span = tuple[tuple[int, int], tuple[int, int]]  # line from 1 and character from 0, of both ends


def digests(parsers: Mapping[str, str]) -> dict[str, str]:
    """The digest of each stage module by its key in ``code.yaml``.

    Args:
        parsers: The parser of each corpus; ``preprocess.<corpus>`` is a key of its own.

    Raises:
        PipelineError: As `digest`.
    """
    names = [name.rpartition(".")[2] for name in modules("stages")]
    found = {name: digest(name) for name in names if name not in (*WITHOUT, BY_CORPUS)}
    for corpus, parser in parsers.items():
        found[f"{BY_CORPUS}.{corpus}"] = digest(BY_CORPUS, parser)
    return dict(sorted(found.items()))


def digest(stage: str, parser: str = "") -> str:
    """16 hex digits that change with every line which the stage's result may depend on.

    Raises:
        PipelineError: A file can't be parsed, or there is no such parser.
    """
    roots = [f"stages.{stage}", *([parser_module(parser)] if parser else [])]
    if not _file(roots[-1]).is_file():
        known = ", ".join(name.rpartition(".")[2] for name in modules("pipeline.corpora.parsers"))
        raise PipelineError(
            f"params.yaml: no parser {parser!r} for a corpus, choose one of: {known}"
        )
    return digest_of(*roots)


def digest_of(*roots: str) -> str:
    """16 hex digits that change with every line which modules, by their dotted names, depend on.

    Raises:
        PipelineError: A file can't be parsed.
    """
    total = hashlib.sha256()
    for file in closure(*roots):
        total.update(f"{file.as_posix()}\0{_bare(ROOT / file)}\0".encode())
    return total.hexdigest()[:16]


def parser_module(parser: str) -> str:
    """The dotted name of the module that parses a corpus, which is imported by its name alone."""
    return f"pipeline.corpora.parsers.{parser.replace('-', '_')}"


def text(found: Mapping[str, str]) -> str:
    """What ``code.yaml`` holds: a line per key, those of one stage by corpus below its name."""
    lines = ["# Written by the stage `code`: changes where a line that decides a result changes.\n"]
    above = ""
    for key, value in found.items():
        stage, _, corpus = key.partition(".")
        if corpus and stage != above:
            lines.append(f"{stage}:\n")
        above = stage
        lines.append(f'  "{corpus}": "{value}"\n' if corpus else f'{stage}: "{value}"\n')
    return "".join(lines)


def recorded(text: str) -> dict[str, str]:
    """The digests by key that the text of a ``code.yaml`` holds; of other text, what is alike."""
    found, stage = {}, ""
    for name, value in re.findall(r'(?m)^( *[^\s:#]+):(?: "(\w+)")?$', text):
        if not name.startswith(" "):
            stage = name
        if value:
            found[f"{stage}.{name.strip().strip(chr(34))}" if name[0] == " " else name] = value
    return found


def key_of(stage: str, corpus: str) -> str:
    """A stage's key in ``code.yaml``."""
    return f"{stage}.{corpus}" if stage == BY_CORPUS else stage


def closure(*roots: str) -> list[Path]:
    """The files of modules and of all they import in this project, sorted, less the ground.

    Imports inside functions count. Paths are relative to the project's root.

    Raises:
        PipelineError: A file can't be parsed.
    """
    found: set[str] = set()
    queue = list(roots)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += imports(_file(name))
    files = {_file(name).relative_to(ROOT) for name in found}
    return sorted(f for f in files if GROUND not in f.parents and f.name != "__init__.py")


def modules(package: str) -> dict[str, Path]:
    """The file of each module below a package, by its dotted name; packages themselves left out."""
    found = sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))
    dotted = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in found}
    return {name: file for name, file in dotted.items() if file.name != "__init__.py"}


@cache
def imports(file: Path) -> frozenset[str]:
    """The dotted names of the modules that a file imports from this project, at any depth."""
    names: set[str] = set()
    for node in _statements(_parsed(file, file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from pipeline.work import pool` and `from pipeline.work.pool import forked` count.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = (name for name in names if name.split(".")[0] in ("pipeline", "stages"))
    return frozenset(name for name in ours if _file(name).is_file())


def bare(source: str, file: Path = Path("-")) -> str:
    """A module's text without comments, docstrings and blank lines.

    By positions in the text: `ast.dump`, `ast.unparse` and streams of tokens differ between
    versions of Python, and a digest of them would too.

    Raises:
        PipelineError: It can't be parsed.
    """
    tree = _parsed(file, source)
    lines = source.split("\n")
    inside: set[int] = set()  # lines within a string, where a blank one counts
    spans = list(_docstrings(tree, lines))
    opened: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "COMMENT":
            spans.append((token.start, token.end))
        elif name == "STRING":
            inside |= set(range(token.start[0] + 1, token.end[0] + 1))
        elif name.endswith("STRING_START"):  # of an f-string, from Python 3.12 on
            opened.append(token.start[0])
        elif name.endswith("STRING_END"):
            inside |= set(range(opened.pop() + 1, token.end[0] + 1))
    for start, end in sorted(spans, reverse=True):
        _cut(lines, start, end)
        inside -= set(range(start[0], end[0] + 1))
    kept = (
        line if number in inside else line.rstrip()
        for number, line in enumerate(lines, 1)
        if number in inside or line.strip()
    )
    return "".join(f"{line}\n" for line in kept)


@cache
def _bare(file: Path) -> str:
    return bare(file.read_text("utf-8"), file.relative_to(ROOT))


def _parsed(file: Path, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f" at line {line}" if line else ""
        reason = getattr(error, "msg", None) or error
        shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        raise PipelineError(f"{shown}: not Python{where}, {reason}, mend it") from None


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """A module and all statements in it, at any depth, a tenth of what `ast.walk` goes through."""
    found: list[ast.AST] = [tree]
    for node in found:
        yield node
        for part in ("body", "orelse", "handlers", "finalbody", "cases"):
            found += getattr(node, part, ())


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[Span]:
    for node in _statements(tree):
        if not isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) or not (node.body and isinstance(node.body[0], ast.Expr)):
            continue
        text = node.body[0].value
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            # ast counts bytes, tokenize characters.
            last = text.end_lineno or text.lineno
            start = len(lines[text.lineno - 1].encode()[: text.col_offset].decode())
            end = len(lines[last - 1].encode()[: text.end_col_offset].decode())
            yield (text.lineno, start), (last, end)


def _cut(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> None:
    """Blank what lies between two places; the lines stay, so that other places stay right."""
    rest = lines[end[0] - 1][end[1] :]
    lines[start[0] - 1] = lines[start[0] - 1][: start[1]] + (rest if start[0] == end[0] else "")
    for number in range(start[0], end[0]):
        lines[number] = rest if number == end[0] - 1 else ""


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
