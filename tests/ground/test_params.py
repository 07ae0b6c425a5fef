"""The strict loader: every mistake in params.yaml is one line that names the key."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import KEYS, Section, load


class Inner(Section):
    rate: Annotated[float, Field(gt=0)]
    unit: Annotated[str, Field(pattern="^(s|ms)$")] = "s"
    bands: Annotated[list[int], Field(min_length=1)] = Field(default_factory=lambda: [1])


class Outer(Section):
    count: int
    inner: Inner


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write a params.yaml whose `cluster` section is the given text."""

    def _write(section: str, extra: str = "") -> Path:
        path = tmp_path / "params.yaml"
        others = "\n".join(f"{key}: 0" for key in KEYS if key != "cluster")
        path.write_text(f"{others}\n{extra}cluster:\n{section}", "utf-8")
        params.read.cache_clear()
        return path

    return _write


def test_yaml_1_2_numbers(write) -> None:  # type: ignore[no-untyped-def]
    path = write("  count: 3\n  inner:\n    rate: 1e-4\n")
    loaded = load("cluster", Outer, path)
    assert loaded == Outer(count=3, inner=Inner(rate=0.0001))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            "  count: 3\n  inner: {rate: 1.0}\n  cuont: 4\n",
            ["cluster.cuont", "did you mean 'count'"],
        ),
        ("  count: 3\n  inner: {rat: 1.0}\n", ["cluster.inner.rat'", "did you mean 'rate'"]),
        ("  count: 3\n  inner: {}\n", ["cluster.inner.rate", "missing"]),
        ("  count: 3\n  inner: {rate: 1.0, unit: Hz}\n", ["inner.unit must match pattern", "'Hz'"]),
        ("  count: 3\n  inner: {rate: 1.0, bands: []}\n", ["inner.bands must have at least 1"]),
        ("  inner: {rate: 1.0}\n", ["cluster.count", "missing"]),
        ("  count: '3'\n  inner: {rate: 1.0}\n", ["cluster.count", "integer", "'3'"]),
        ("  count: true\n  inner: {rate: 1.0}\n", ["cluster.count", "integer"]),
        ("  count: 3.5\n  inner: {rate: 1.0}\n", ["cluster.count", "3.5"]),
        ("  count: 3\n  inner: {rate: 0.0}\n", ["cluster.inner.rate", "greater than 0"]),
        ("  count: 3\n  inner: {rate: .nan}\n", ["cluster.inner.rate", "finite"]),
        ("  count: 3\n  count: 4\n  inner: {rate: 1.0}\n", ["duplicate key", "line"]),
        ("  count: [\n", ["not valid YAML"]),
    ],
)
def test_mistakes_are_one_line(write, section: str, expected: list[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PipelineError) as caught:
        load("cluster", Outer, write(section))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("params.yaml:")
    for part in expected:
        assert part in message


def test_an_unknown_top_level_key_names_its_neighbour(write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PipelineError, match="'foldss', did you mean 'folds'"):
        load("seed", int, write("  count: 3\n", extra="foldss: 1\n"))


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="run in the project's root"):
        load("seed", int, tmp_path / "params.yaml")


def test_a_dotted_key_reads_a_part(write) -> None:  # type: ignore[no-untyped-def]
    path = write("  count: 3\n  inner:\n    rate: 0.5\n")
    assert load("cluster.inner", Inner, path).rate == 0.5
    with pytest.raises(PipelineError, match="no 'iner' under cluster, did you mean 'inner'"):
        load("cluster.iner", Inner, path)
