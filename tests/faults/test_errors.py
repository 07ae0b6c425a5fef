"""Every message names its place and a remedy, and docs/errors.md lists them all."""

import pytest

from tests import errors


@pytest.mark.parametrize("message", errors.messages(), ids=lambda one: one.text[:60])
def test_a_message_names_a_file_or_key_and_a_remedy(message: errors.Message) -> None:
    assert message.is_complete(), f"{message.module}: {message.text}"


@pytest.mark.parametrize(("code", "text"), errors.refusals())
def test_an_answer_of_the_service_does_so_too(code: str, text: str) -> None:
    assert 400 <= int(code) < 600
    assert errors.Message("service", text).is_complete()


def test_no_message_is_overlooked() -> None:
    """Each raise gives at least one text, or is one that only forwards another's message."""
    assert errors.unread() == []


def test_the_page_lists_what_the_code_says() -> None:
    assert errors.PAGE.read_text("utf-8") == errors.page(), "run `python -m tests.errors`"


@pytest.mark.parametrize("text", ["broken", "a.csv: broken", "delete it and run it again"])
def test_a_message_without_place_or_remedy_is_not_complete(text: str) -> None:
    assert not errors.Message("module", text).is_complete()
