"""Every message that the code can stop with, read from the code: what docs/errors.md lists.

`python -m tests.errors` writes the page anew; tests/faults/test_errors.py holds it to the code.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.ground.code import ROOT

PAGE = ROOT / "docs/errors.md"
# What a remedy begins with; where there is none, the rule itself must say what is right.
VERBS = (
    "add|check|choose|close|commit|complete|convert|copy|correct|cut|delete|did you mean|export|"
    "fill|free|give|go online|install|leave|lower|make|mend|name|put|raise|remove|rename|run|see|"
    "send|set|start|take|train|use|wait|write"
)
_REMEDY = re.compile(rf"(?:[,;:(] (?:then |or )?|\()((?:{VERBS})\b.*)$")
_RULE = re.compile(r"\b(must|expected)\b")
_NO_NAMES = ("self", "str", "len", "sorted", "map")
_SHORT = {"error.strerror": "reason", "_first_line(error)": "reason", "reason": "reason"}

HEAD = """# Errors

Whatever stops a command is one line on stderr: the file or key, what was expected and found, and
what to do. The exit status is 1 for an error below, 2 for a wrong option, 130 after Ctrl-C and 143
after SIGTERM; old outputs are untouched, and the next run resumes. Anything with a traceback is a
defect: please report it.

The operating system's refusals (no space, no permission, a missing file) are told as
`<stage>: <path>: <reason>, old outputs are untouched: <remedy>`.

The tables are read from the code by `python -m tests.errors`, and a test compares them. `<name>`
stands for what is filled in.
"""


@dataclass(frozen=True)
class Message:
    """One message of a module, with ``<name>`` where values go."""

    module: str
    text: str

    @property
    def remedy(self) -> str:
        """What it tells the user to do; empty where it only gives the rule."""
        found = _REMEDY.search(self.text)
        return found[1].rstrip(")") if found else ""

    @property
    def place(self) -> str:
        """The file, key or command that it names first."""
        named = self.text.startswith("<place> ") or ": " in self.text
        return self.text.split(": ", 1)[0] if named else ""

    def is_complete(self) -> bool:
        """Whether it names a place, and a remedy or the rule; it may do by what it wraps."""
        wraps = self.text.endswith(": <error>")
        return wraps or bool(self.place and (self.remedy or _RULE.search(self.text)))


class Texts:
    """Turns the argument of an error into templates, following its module's names and functions."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
        self._parents = {child: n for n in ast.walk(tree) for child in ast.iter_child_nodes(n)}

    def of(self, node: ast.expr, scope: ast.AST) -> Iterator[str]:
        """Every text that ``node`` may be."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            function = self._functions.get(node.func.id)
            for one in ast.walk(function) if function else ():
                if isinstance(one, ast.Return) and one.value and function:
                    yield from self.of(one.value, function)
        elif isinstance(node, ast.Constant):
            yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(self._part(part, scope) for part in node.values)
        elif isinstance(node, ast.IfExp):
            yield from self.of(node.body, scope)
            yield from self.of(node.orelse, scope)
        elif isinstance(node, ast.BinOp):
            yield " ".join(
                text for side in (node.left, node.right) for text in self.of(side, scope)
            )

    def function(self, node: ast.AST) -> ast.AST:
        """The function around a node."""
        while node in self._parents and not isinstance(node, ast.FunctionDef):
            node = self._parents[node]
        return node

    def _part(self, part: ast.expr, scope: ast.AST) -> str:
        if isinstance(part, ast.Constant):
            return str(part.value)
        assert isinstance(part, ast.FormattedValue)
        assigned = [
            n.value
            for n in ast.walk(scope)
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == ast.unparse(part.value)
        ]
        if len(assigned) == 1 and isinstance(assigned[0], ast.JoinedStr | ast.Constant):
            return next(self.of(assigned[0], scope))
        if isinstance(part.value, ast.Call) and ast.unparse(part.value.func) == "_nearest":
            return ", did you mean <name>?"
        return f"<{_name(part.value)}>"


def _name(node: ast.expr) -> str:
    """A word for what is filled in."""
    text = ast.unparse(node)
    if text in _SHORT:
        return _SHORT[text]
    words = re.findall(r"[A-Za-z_]+", re.sub(r"(['\"]).*?\1", "", text))
    known = [
        word.strip("_") for word in words if word not in ("self", "str", "len", "sorted", "map")
    ]
    return known[-1].replace("_", " ") if known else "value"


def messages() -> list[Message]:
    """All messages of `PipelineError` in the code, in the order of the modules."""
    return list(
        dict.fromkeys(Message(where, text) for where, _, made in _raised() for text in made)
    )


def unread() -> list[str]:
    """Errors whose text was not found."""
    return [f"{where}: {call}" for where, call, made in _raised() if not made]


def _raised() -> Iterator[tuple[str, str, list[str]]]:
    """Each error's module, the code that makes it, and its texts."""
    for path in sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")]):
        tree = ast.parse(path.read_text("utf-8"))
        texts, module = Texts(tree), path.relative_to(ROOT).with_suffix("").as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "PipelineError":
                made = texts.of(node.args[0], texts.function(node))
                yield module, ast.unparse(node), list(made)


def rejects() -> list[tuple[str, str]]:
    """The codes of rejects.csv and their details."""
    found = set()
    for texts, node in _calls("Reject", "RejectedError"):
        code, detail = node.args[1:3]
        scope = texts.function(node)
        found |= {(c, d) for c in texts.of(code, scope) for d in texts.of(detail, scope)}
    return sorted(found)


def refusals() -> list[tuple[str, str]]:
    """The statuses that `ser serve` answers with, and their lines."""
    found = set()
    for texts, node in _calls("HTTPException"):
        code, detail = node.args[:2]
        found |= {(ast.unparse(code), text) for text in texts.of(detail, texts.function(node))}
    return sorted(found)


def _calls(*names: str) -> Iterator[tuple[Texts, ast.Call]]:
    """Where the library calls one of these, with its module's texts."""
    for path in ROOT.glob("pipeline/**/*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        texts = Texts(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                yield texts, node


def page() -> str:
    """The whole of docs/errors.md."""
    lines, module = [HEAD], ""
    for message in messages():
        if message.module != module:
            module = message.module
            lines += ["", f"## {module}", "", "| message | what to do |", "|---|---|"]
        said = message.text.removesuffix(message.remedy).rstrip(" ,;:(")
        lines.append(f"| `{_cell(said)}` | {_cell(message.remedy) or 'give what it expects'} |")
    lines += ["", "## Rows of rejects.csv", ""]
    lines += [
        "A stage stops where more than `preprocess.max_reject_fraction` of a corpus is rejected."
    ]
    lines += ["", "| code | detail |", "|---|---|"]
    lines += [f"| {code} | {_cell(detail)} |" for code, detail in rejects()]
    lines += ["", "## Answers of `ser serve`", ""]
    lines += ['Each as `{"detail": ...}`; 422 has the lines of `pipeline/inference` above, too.']
    lines += ["", "| status | detail |", "|---|---|"]
    lines += [f"| {code} | {_cell(detail)} |" for code, detail in refusals()]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
