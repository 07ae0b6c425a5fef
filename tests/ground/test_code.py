"""The digest of a stage's code: what changes it, what doesn't, under every version of Python."""

import ast
import hashlib
import io
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Set
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.ground import code
from pipeline.ground.errors import PipelineError
from tests.conftest import ROOT

# What the versions of Python read differently: f-strings, quotes within them, type hints.
TRICKY = '''#!/usr/bin/env python
# Comment, ü.
"""Docstring
over lines."""

from pipeline.work import seeds  # why


class A:
    """Ünïcode."""; x = "# no comment"

    def f(self, n: "int" = 3) -> str:
        "one line"
        text = """first

        # inside a string
        last"""  # after it
        return f"{n:>{n}} # {text!r} {'#'}" + f"""
        {n}

        # {self.x}"""


async def g():
    """Only a docstring."""


def h():
    b"bytes are no docstring"
    return (
        "joined"
        # between
        "strings"
    )
'''
BARE = '''from pipeline.work import seeds
class A:
    ; x = "# no comment"
    def f(self, n: "int" = 3) -> str:
        text = """first

        # inside a string
        last"""
        return f"{n:>{n}} # {text!r} {'#'}" + f"""
        {n}

        # {self.x}"""
async def g():
def h():
    b"bytes are no docstring"
    return (
        "joined"
        "strings"
    )
'''


def test_only_comments_docstrings_and_blank_lines_are_cut() -> None:
    assert code.bare(TRICKY) == BARE


def test_the_digest_of_a_text_is_the_same_under_every_python() -> None:
    """Golden: made with Python 3.11.7, and equal under 3.12.1 and 3.13.0."""
    found = hashlib.sha256(code.bare(TRICKY).encode()).hexdigest()
    assert found[:16] == "3fd10043d09a3ebc"


def test_no_module_of_the_project_loses_a_token() -> None:
    modules = {**code.modules("pipeline"), **code.modules("stages")}
    assert len(modules) > 100
    for file in modules.values():
        source = file.read_text("utf-8")
        assert _tokens(code.bare(source)) == _tokens(source, _docstrings(source)), file


def _docstrings(source: str) -> set[str]:
    found = (n for n in ast.walk(ast.parse(source)) if hasattr(n, "body"))
    bodies = (n.body[0] for n in found if isinstance(n.body, list) and n.body)
    texts = (
        b.value for b in bodies if isinstance(b, ast.Expr) and isinstance(b.value, ast.Constant)
    )
    return {ast.get_source_segment(source, text) or "" for text in texts}


def _tokens(source: str, without: Set[str] = frozenset()) -> list[str]:
    layout = {"COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"}
    found = tokenize.generate_tokens(io.StringIO(source).readline)
    told = (t.string for t in found if tokenize.tok_name[t.type] not in layout)
    return [text for text in told if text not in without]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of a few modules in the place of this one."""
    modules = {
        "stages/extract.py": "from pipeline.audio import decoding\n\n\ndef main():\n    pass\n",
        "stages/preprocess.py": "from pipeline.corpora import registry\n",
        "stages/plan.py": "x = 1\n",
        "stages/code.py": "x = 1\n",
        "pipeline/audio/decoding.py": "from pipeline.ground import files\nRATE = 1\n",
        "pipeline/audio/unused.py": "x = 1\n",
        "pipeline/ground/files.py": "x = 1\n",
        "pipeline/work/pool.py": "x = 1\n",
        "pipeline/corpora/registry.py": "x = 1\n",
        "pipeline/corpora/parsers/emodb.py": "x = 1\n",
        "pipeline/corpora/parsers/crema_d.py": "x = 1\n",
    }
    for name, text in modules.items():
        for folder in (tmp_path / name).parents:
            if folder.is_relative_to(tmp_path) and folder != tmp_path:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "__init__.py").touch()
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    yield tmp_path
    _forget()


def _forget() -> None:
    code.imports.cache_clear()
    code._bare.cache_clear()


def changed(tree: Path, name: str, text: str) -> set[str]:
    """The keys of code.yaml that change when a file gets another text."""
    parsers = {"berlin": "emodb", "crowd": "crema-d"}
    _forget()
    before = code.digests(parsers)
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)
    _forget()
    after = code.digests(parsers)
    assert before.keys() == after.keys() == {"extract", "preprocess.berlin", "preprocess.crowd"}
    return {key for key in after if after[key] != before[key]}


PREPROCESS = {"preprocess.berlin", "preprocess.crowd"}


@pytest.mark.parametrize(
    ("name", "text", "keys"),
    [
        (
            "pipeline/audio/decoding.py",
            "from pipeline.ground import files\nRATE = 2\n",
            {"extract"},
        ),
        ("stages/extract.py", "from pipeline.audio import decoding\nX = 1\n", {"extract"}),
        ("stages/preprocess.py", "from pipeline.corpora import registry\nX = 1\n", PREPROCESS),
        ("pipeline/corpora/parsers/emodb.py", "x = 2\n", {"preprocess.berlin"}),
        ("pipeline/corpora/parsers/crema_d.py", "x = 2\n", {"preprocess.crowd"}),
        # What no stage reaches, and what decides no number.
        ("pipeline/corpora/parsers/mine.py", "x = 1\n", set()),
        ("pipeline/audio/unused.py", "x = 2\n", set()),
        ("pipeline/ground/files.py", "x = 2\n", set()),
        ("stages/plan.py", "x = 2\n", set()),
        ("pipeline/corpora/parsers/emodb.py", '"""What."""\n\n# Why.\nx = 1\n', set()),
    ],
)
def test_a_line_changes_the_stages_that_reach_it(
    tree: Path, name: str, text: str, keys: set[str]
) -> None:
    assert changed(tree, name, text) == keys


DEEP = """
match 1:
    case 1:
        try:
            pass
        except OSError:
            while True:
                class Inner:
                    async def main():
                        async with 1:
                            if 1:
                                pass
                            else:
                                from pipeline.work import pool
"""


@pytest.mark.parametrize("inner", ["def main():\n    from pipeline.work import pool\n", DEEP])
def test_an_import_at_any_depth_counts(tree: Path, inner: str) -> None:
    assert changed(tree, "stages/extract.py", inner) == {"extract"}
    assert changed(tree, "pipeline/work/pool.py", "x = 2\n") == {"extract"}


def test_what_cannot_be_parsed_is_one_line(tree: Path) -> None:
    (tree / "pipeline/audio/decoding.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(
        PipelineError, match=r"^pipeline/audio/decoding\.py: not Python at line 2, "
    ):
        code.digest("extract")


def test_an_unknown_parser_names_the_known(tree: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"no parser 'emobd' .*, choose one of: crema_d, emodb$"
    ):
        code.digests({"berlin": "emobd"})


names = st.text(
    st.characters(codec="ascii", exclude_characters='"\\', categories=["L", "N"]), min_size=1
)


@given(st.dictionaries(names, st.text("0123456789abcdef", min_size=16, max_size=16)))
def test_code_yaml_comes_back_as_any_yaml_reader_has_it(corpora: dict[str, str]) -> None:
    found = {"extract": "1e10000000000000", **{f"preprocess.{n}": d for n, d in corpora.items()}}
    text = code.text(found)
    assert code.recorded(text) == found
    nested = YAML(typ="safe").load(text)
    assert nested["extract"] == found["extract"]
    assert nested.get("preprocess", {}) == corpora


def test_a_stage_started_with_stale_code_stops_and_writes_nothing(project: Path) -> None:
    told = code.text({**code.digests({}), "split": "0" * 16})
    (project / "code.yaml").write_text(told)
    done = subprocess.run(
        [sys.executable, "-m", "stages.split"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "code.yaml: split has the digest of other code than lies here, run `dvc repro code`\n",
    )
    assert not (project / "artifacts/folds.csv").exists()
