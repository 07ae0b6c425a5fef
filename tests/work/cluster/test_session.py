"""What is said where there is no Ray, or nobody at its address."""

import socket
import sys
from pathlib import Path

import pytest

from pipeline.ground import stage
from pipeline.ground.errors import PipelineError
from pipeline.work.cluster.session import joined
from tests.params import set_runtime


def test_an_address_where_nobody_answers_is_one_line(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        set_runtime(engine="ray", address=address)
        with (
            pytest.raises(PipelineError, match=f"at {address} .*, start it there"),
            joined(stage.runtime()),
        ):
            pass


def test_ray_that_is_not_installed_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    set_runtime(engine="ray")
    with (
        pytest.raises(PipelineError, match=r"not installed, run .*-pipeline\[ray\]"),
        joined(stage.runtime()),
    ):
        pass


@pytest.mark.parametrize("address", ["head", "ray://head:10001 x", ":", "head:123456"])
def test_an_address_is_a_host_and_a_port(project: Path, address: str) -> None:
    set_runtime(address=address)
    with pytest.raises(PipelineError, match=r"runtime\.address"):
        stage.runtime()
