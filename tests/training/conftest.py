"""What the tests of training train on."""

from pathlib import Path

import pytest

from pipeline.splits.task import Example
from tests.speech import tone_clips


@pytest.fixture
def found(project: Path) -> list[Example]:
    """Thirty clips of two classes in the roles of one fold."""
    return tone_clips(30)
