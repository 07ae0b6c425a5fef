"""The table of faults names tests that exist, and leaves no row out."""

import ast
import re

from pipeline.ground.code import ROOT
from tests import faults

TABLE = str(faults.__doc__)


def test_every_row_has_a_test() -> None:
    rows = re.findall(r"^ ?(\d+) [^:]+: tests/", TABLE, re.M)
    assert [int(row) for row in rows] == list(range(1, 31))


def test_every_named_test_exists() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", TABLE)
    assert len(named) > 60
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}, (path, name)
