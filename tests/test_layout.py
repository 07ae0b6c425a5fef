"""``dvc exp run -S`` rewrites params.yaml: whatever it sets, no other value and no comment changes.

DVC's writer gives every list anew, and keeps a comment with what stands before it. So a comment at
a list or section breaks the file, or vanishes, once that is emptied.
"""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from pipeline.cli.preset import merged
from pipeline.ground import documents
from pipeline.ground.code import ROOT

BASE = (ROOT / "params.yaml").read_text("utf-8")
TEXTS = {
    path.stem: merged(BASE, path.read_text("utf-8"))
    for path in sorted((ROOT / "presets").glob("*.yaml"))
}
ITEMS: tuple[list[str], ...] = ([], ["one"], ["a", "b", "c", "d"])
KEYS: tuple[dict[str, Any], ...] = ({}, {"a": ["b"], "c": 2})

Path_ = tuple[str, ...]
Comment = tuple[str, str, str]  # its text, the keys before and after it: one key where it is beside


def parts(value: Any, kind: type, above: Path_ = ()) -> Iterator[Path_]:
    """The key of every part of a document that is of a kind."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, kind):
            yield (*above, key)
        yield from parts(inner, kind, (*above, key))


def comments(text: str) -> list[Comment]:
    """Every comment and where it stands, read line by line, without a YAML library."""
    found: list[Comment] = []
    waiting: list[tuple[str, str]] = []
    stack: list[tuple[int, str]] = []
    place = ""
    for line in text.splitlines():
        content, _, comment = line.partition("#")
        if comment and not content.strip():
            waiting.append((comment, place))
        elif content.strip():
            if key := re.match(r"( *)([^\s:]+):( |$)", content):
                stack = [one for one in stack if one[0] < len(key[1])] + [(len(key[1]), key[2])]
                place = ".".join(name for _, name in stack)
            else:
                place += "[]"  # an item: no comment may stand after it
            found += [(text, before, place) for text, before in waiting]
            found += [(comment, place, place)] if comment else []
            waiting = []
    return found


def set_by_dvc(path: Path, text: str, values: dict[Path_, Any]) -> str:
    """What DVC's own writer makes of the text when keys are set; of a mapping, its keys are."""
    path.write_text(text, "utf-8")
    lists = [f"{'.'.join(k)}=[{','.join(v)}]" for k, v in values.items() if isinstance(v, list)]
    if lists:
        apply_overrides(path, lists)
    mappings = {key: value for key, value in values.items() if isinstance(value, dict)}
    if mappings:
        with modify_yaml(path) as document:
            for key, value in mappings.items():
                section = at(document, key)
                for name in list(section):
                    del section[name]
                section.update(value)
    return path.read_text("utf-8")


def at(document: Any, key: Path_) -> Any:
    for part in key:
        document = document[part]
    return document


def require_the_rest_unchanged(before: str, after: str, values: dict[Path_, Any]) -> None:
    """Compare values, and the comments that stand outside the parts which were set."""
    wanted = copy.deepcopy(documents.parse(before, "before"))
    for key, value in values.items():
        at(wanted, key[:-1])[key[-1]] = value
    assert YAML(typ="safe", pure=True).load(after) == wanted, list(values)
    inside = tuple(f"{'.'.join(key)}." for key in values)
    kept = [one for one in comments(before) if not f"{one[1]}.".startswith(inside)]
    assert comments(after) == kept, list(values)


def batches(keys: list[Path_]) -> list[list[Path_]]:
    """Parts that are set at once: none within another of them, and none next to another."""
    found: list[list[Path_]] = []
    for number, key in enumerate(keys):
        near = {keys[number - 1] if number else ()} | {key[:length] for length in range(len(key))}
        for batch in found:
            if near.isdisjoint(batch):
                batch.append(key)
                break
        else:
            found.append([key])
    return found


def require_each_can_be_set(folder: Path, keys: list[Path_], value: Any) -> None:
    for batch in batches(keys):
        values = dict.fromkeys(batch, value)
        after = set_by_dvc(folder / "params.yaml", BASE, values)
        require_the_rest_unchanged(BASE, after, values)


@pytest.mark.parametrize("items", ITEMS, ids=["emptied", "one item", "other items"])
def test_each_list_can_be_set(tmp_path: Path, items: list[str]) -> None:
    lists = list(parts(documents.parse(BASE, "params.yaml"), list))
    assert len(lists) > 20
    require_each_can_be_set(tmp_path, lists, items)


@pytest.mark.parametrize("value", KEYS, ids=["emptied", "other keys"])
def test_each_mapping_can_be_set(tmp_path: Path, value: dict[str, Any]) -> None:
    mappings = list(parts(documents.parse(BASE, "params.yaml"), dict))
    assert len(mappings) > 50
    require_each_can_be_set(tmp_path, mappings, value)


@pytest.mark.parametrize("name", TEXTS)
def test_a_preset_gives_such_a_file_too(tmp_path: Path, name: str) -> None:
    text, path = TEXTS[name], tmp_path / "params.yaml"
    empty: dict[Path_, Any] = {key: [] for key in parts(documents.parse(text, name), list)}
    empty |= {("task", "emotion", "merge"): {}}
    emptied = set_by_dvc(path, text, empty)
    require_the_rest_unchanged(text, emptied, empty)
    # And back, as the next experiment does.
    filled = {key: ["one", "two"] if value == [] else {"one": "b"} for key, value in empty.items()}
    require_the_rest_unchanged(text, set_by_dvc(path, emptied, filled), filled)


@pytest.mark.parametrize("name", TEXTS)
def test_comments_stand_at_single_values_alone(name: str) -> None:
    known = documents.parse(TEXTS[name], name)
    for text, before, _ in comments(TEXTS[name]):
        value = at(known, tuple(before.split("."))) if before else None  # the head of the file
        assert not isinstance(value, list | dict), (before, text)


def test_a_preset_has_every_comment_of_the_shipped_file() -> None:
    assert {name for name, text in TEXTS.items() if comments(text) != comments(BASE)} == set()
