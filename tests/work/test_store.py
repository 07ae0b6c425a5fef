"""The store of finished work: what was put is got, and damage is never got."""

from pathlib import Path

import pytest

from pipeline.ground.files import digest
from pipeline.work.store import Store

KEYS = [digest(n) for n in range(4)]
CONTENTS = [b"one", b"", b"three" * 1_000, b"four"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    for key, content in zip(KEYS, CONTENTS, strict=True):
        store.put(key, content)
    (path,) = tmp_path.glob("*.log")
    return path


def held(folder: Path) -> list[bytes | None]:
    store = Store(folder)
    return [store.get(key) for key in KEYS]


def test_what_was_put_is_got_by_a_new_store(log: Path) -> None:
    assert held(log.parent) == CONTENTS
    assert Store(log.parent).get(digest("other")) is None


def test_each_process_appends_to_its_own_log(log: Path) -> None:
    other = Store(log.parent)
    other.put(digest("new"), b"new")
    assert len(list(log.parent.glob("*.log"))) == 2
    assert Store(log.parent).get(digest("new")) == b"new"
    assert held(log.parent) == CONTENTS


def test_a_record_that_is_put_again_replaces_a_damaged_one(log: Path) -> None:
    content = log.read_bytes().replace(b"one", b"0ne")
    (log.parent / "0.log").write_bytes(content)
    log.unlink()
    store = Store(log.parent)
    assert store.get(KEYS[0]) is None
    store.put(KEYS[0], b"one")
    assert held(log.parent) == CONTENTS


def test_a_torn_log_holds_what_was_whole(log: Path) -> None:
    whole = log.read_bytes()
    for cut in (0, 1, 71, 72, 74, 75, 100, 200, 1_000, len(whole) - 1):
        log.write_bytes(whole[:cut])
        for content, expected in zip(held(log.parent), CONTENTS, strict=True):
            assert content in (None, expected)
    assert held(log.parent)[:3] == CONTENTS[:3]


def test_no_flipped_bit_is_ever_got(log: Path) -> None:
    whole = log.read_bytes()
    for bit in range(0, 8 * len(whole), 97):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        log.write_bytes(flipped)
        for content, expected in zip(held(log.parent), CONTENTS, strict=True):
            assert content in (None, expected)
