"""Devices and precisions: what is missing is said, and on a GPU equal bytes are the default."""

from collections.abc import Iterator
from queue import SimpleQueue

import pytest
import torch

from pipeline.ground.errors import PipelineError
from pipeline.work import device
from tests.patience import PATIENCE_S

CPU = torch.device("cpu")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One GPU, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_gpu_gives_equal_bytes_unless_told_otherwise(
    pretended: None, deterministic: bool
) -> None:
    assert device.select("auto", deterministic).type == "cuda"
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32


def test_only_a_gpu_is_woken(pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: SimpleQueue[str] = SimpleQueue()
    monkeypatch.setattr(device, "_multiply", woken.put)
    for name in ("cpu", "auto", "cpu", "cuda:1"):
        device.wake(name)
    assert sorted(woken.get(timeout=PATIENCE_S) for _ in range(2)) == ["cuda", "cuda:1"]
    assert woken.empty()


def test_a_gpu_that_cannot_be_woken_is_told_of_where_it_is_used() -> None:
    device._multiply("cuda:77")


def test_what_a_device_lacks_is_refused(pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="'cuda:1', but torch sees 1 GPUs"):
        device.select("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    with pytest.raises(PipelineError, match="bf16, but this GPU has none"):
        device.dtype(torch.device("cuda"), "bf16")
    with pytest.raises(PipelineError, match="fp16, which needs a GPU, but the device is cpu"):
        device.dtype(CPU, "fp16")
    assert device.dtype(torch.device("cuda"), "fp16") is torch.float16
    assert device.dtype(CPU, "bf16") is torch.bfloat16
