"""Every key of params.yaml and of each preset, mistaken in every way: one line that names it.

What a key must be is found where the code reads it (`tests.sections`).
"""

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.cli.preset import merged
from pipeline.ground import params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from tests.faults import chain
from tests.sections import declared, field_of, keys, matches, out_of_range

BASE = (ROOT / "params.yaml").read_text("utf-8")
NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
KINDS = declared()
# Below these, keys are names that users choose; whatever uses a name checks it (`plan`).
CHOSEN = [("corpus",), ("encoder",), ("task",), ("task", "emotion", "merge")]
CHOSEN += [("evaluate", "ensembles")]
# What an entry may say besides.
OPTIONAL = ("trained_on", "licence", "table", "column")
WRONG_TYPES: dict[type, list[object]] = {
    bool: ["yes", 1, {"a": 1}],
    int: ["1", 1.5, True, [1], {"a": 1}],
    float: ["1", True, [1.0], {"a": 1}, float("nan"), float("inf")],
    str: [True, ["a"], {"a": 1}],
    list: ["a", 7, {"a": 1}],
    dict: ["a", 7, [1]],
    type(None): ["1", True, [1.0], {"a": 1}],
}

Key = tuple[Any, ...]
Document = dict[str, Any]


@pytest.fixture(params=NAMES, scope="module")
def document(request: pytest.FixtureRequest) -> Document:
    overlay = (ROOT / "presets" / f"{request.param}.yaml").read_text("utf-8")
    found: Document = YAML(typ="safe").load(merged(BASE, overlay))
    return found


def at(document: Document, path: Key) -> Any:
    for part in path:
        document = document[part]
    return document


def told(document: Document, path: Key, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every reader of a key says of a document: the lines of those that stop."""
    monkeypatch.setattr(params, "read", lambda _: document)
    lines = []
    for pattern, kind in KINDS:
        if matches(pattern, path):
            try:
                params.load(".".join(path[: len(pattern)]), kind)
            except PipelineError as error:
                lines.append(str(error))
    assert all(line.startswith("params.yaml: ") and "\n" not in line for line in lines)
    assert all(len(line) < 400 for line in lines)
    return lines


def changed(document: Document, path: Key) -> tuple[Document, dict[str, Any]]:
    """A copy of the document as far as the key, and in it the mapping that holds the key."""
    copied = section = copy.copy(document)
    for part in path[:-1]:
        section[part] = copy.copy(section[part])
        section = section[part]
    return copied, section


def below_the_top(document: Document) -> list[Key]:
    return [p for p in keys(document) if len(p) > 1 and p[:-1] not in CHOSEN]


def test_every_key_is_read_by_something_that_knows_what_it_must_be(document: Document) -> None:
    for path in keys(document):
        chosen = path[:-1] in CHOSEN or path in CHOSEN
        kinds = [k for pattern, k in KINDS if matches(pattern, path) and k != dict[str, object]]
        assert kinds or chosen, path


def test_a_misspelt_key_is_named_with_its_neighbour(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in below_the_top(document):
        mutant, section = changed(document, path)
        misspelt = path[-1] + path[-1][-1]
        section[misspelt] = section.pop(path[-1])
        lines = told(mutant, path[:-1], monkeypatch)
        assert lines, path
        dotted = ".".join([*path[:-1], misspelt])
        assert any(
            f"unknown key '{dotted}', did you mean '{path[-1]}'?" in line for line in lines
        ), (path, lines)


def test_a_missing_key_is_named(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in below_the_top(document):
        if path[-1] in OPTIONAL:
            continue
        mutant, section = changed(document, path)
        del section[path[-1]]
        lines = told(mutant, path[:-1], monkeypatch)
        assert any(f"missing key '{'.'.join(path)}'" in line for line in lines), (path, lines)


def test_a_wrong_type_is_named(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in keys(document):
        for value in WRONG_TYPES[type(at(document, path))]:
            mutant, section = changed(document, path)
            section[path[-1]] = value
            lines = told(mutant, path, monkeypatch)
            assert any(f": {'.'.join(path)}" in line for line in lines), (path, value, lines)


def test_a_value_out_of_its_range_is_named(
    document: Document, monkeypatch: pytest.MonkeyPatch, tell: Any
) -> None:
    count = 0
    for path in keys(document):
        for pattern, kind in KINDS:
            if not matches(pattern, path):
                continue
            for value in out_of_range(field_of(kind, path[len(pattern) :])):
                mutant, section = changed(document, path)
                section[path[-1]] = value
                lines = told(mutant, path, monkeypatch)
                assert any(f": {'.'.join(path)}" in line for line in lines), (path, value, lines)
                count += 1
    assert count > 80
    tell("values out of range", count)


def test_a_duplicate_key_is_named(project: Path) -> None:
    lines = BASE.splitlines()
    start = 0
    for number, line in enumerate(lines):
        key, colon, _ = line.split("#")[0].partition(":")
        if not colon or key.lstrip().startswith("-"):
            continue
        start = number if not line.startswith(" ") else start
        end = next((n for n in range(start + 1, len(lines)) if lines[n][:1].isalpha()), len(lines))
        twice = [*lines[start:number], f"{key}: 0", *lines[number:end]]
        Path("params.yaml").write_text("\n".join(twice) + "\n", "utf-8")
        params.read.cache_clear()
        with pytest.raises(PipelineError) as error:
            params.read(Path("params.yaml").resolve())
        told = str(error.value)
        assert f'duplicate key "{key.strip()}"' in told, told
        assert f"at line {number - start + 2}" in told
        assert "\n" not in told


@pytest.mark.parametrize("key", params.KEYS)
def test_a_misspelt_or_missing_section_is_named(project: Path, key: str) -> None:
    misspelt = key + key[-1]
    for there, expected in ((misspelt, f"did you mean {key!r}"), ("", f"missing key {key!r}")):
        names = [there if name == key else name for name in params.KEYS]
        text = "\n".join(f"{name}: 0" for name in names if name)
        Path("params.yaml").write_text(text, "utf-8")
        params.read.cache_clear()
        with pytest.raises(PipelineError, match=expected):
            params.read(Path("params.yaml").resolve())


@pytest.mark.parametrize(
    ("classes", "merge", "expected"),
    [
        (["happy", "sad", "happy"], {}, "classes that differ"),
        (["happy", "sad"], {"excited": "hapy"}, "a merge into classes alone, not 'hapy'"),
        (["happy", "sad"], {"sad": "happy"}, "a merge of what is no class itself, unlike 'sad'"),
    ],
)
def test_a_task_that_means_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, classes: list[str], merge: dict[str, str], expected: str
) -> None:
    lines = told(
        {"task": {"x": {"target": "emotion", "classes": classes, "merge": merge}}},
        ("task", "x"),
        monkeypatch,
    )
    assert any(f"params.yaml: task.x must be {expected}" in line for line in lines), lines


@pytest.mark.parametrize("revision", ["main", "v1.0", "dba3bb02", "DBA3" * 10])
def test_a_branch_is_no_revision(monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    document: Document = YAML(typ="safe").load(BASE)
    document["encoder"]["hubert-base"]["revision"] = revision
    lines = told(document, ("encoder", "hubert-base"), monkeypatch)
    assert any("encoder.hubert-base.revision must match" in line for line in lines), lines


@pytest.mark.parametrize(
    "key", ["methods", "methods.cached", "features", "crnn", "networks.methods"]
)
def test_evaluate_names_a_list_that_is_none(copied: Path, key: str) -> None:
    above, _, name = key.rpartition(".")
    yaml = YAML()
    document = yaml.load(copied / "params.yaml")
    (document[above] if above else document)[name] = 7
    yaml.dump(document, copied / "params.yaml")
    status, said = chain.run(copied, chain.step_of("evaluate"))
    assert status == 1
    assert "Traceback" not in said
    assert said.startswith("params.yaml: ")
    assert key in said


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e13", ".inf", "9" * 400])
def test_a_number_that_no_arithmetic_holds_is_named(project: Path, value: str) -> None:
    text = BASE.replace("max_clip_s: 20.0", f"max_clip_s: {value}")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    with pytest.raises(PipelineError, match=r"preprocess\.max_clip_s must be a number between"):
        params.load("seed", int)
