"""finetune: each method has its own starts."""

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from stages import finetune


@pytest.mark.parametrize(
    ("start", "method", "wanted"),
    [
        ("fbank", "full", "pretrained or retrained"),
        ("tiny", "lora-qkv", "pretrained or retrained"),
        ("retrained", "linear", "an encoder of features"),
    ],
)
def test_a_start_that_the_method_does_not_have_is_refused(
    project: Path, start: str, method: finetune.Method, wanted: str
) -> None:
    with pytest.raises(PipelineError, match=f"--start: {method} starts from {wanted}"):
        finetune.main(start, method, 0)
