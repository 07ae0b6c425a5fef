"""A service in this process, around a judge whose answers can be computed by hand."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.audio.segments import Cutting
from pipeline.cli import export
from pipeline.inference.api import Model
from pipeline.inference.judge import Judge
from pipeline.inference.service import application
from pipeline.inference.service.limits import Limits
from pipeline.inference.service.work import Work
from pipeline.methods import preprocessing
from tests.inference.test_listening import CUTTING, JUDGE
from tests.methods.test_classifier import saved, trained
from tests.speech import small_encoder

Serve = Callable[..., tuple[TestClient, Work]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A client and what serves it; arguments are a judge, a token, and limits."""
    with ExitStack() as stack:

        def made(judge: Judge = JUDGE, token: str = "", **limits: Any) -> tuple[TestClient, Work]:
            work = Work(Model(judge, CUTTING), dataclasses.replace(Limits(), **limits))
            stack.callback(work.desk.close, 60)
            stack.callback(work.abandon)
            app = application.make(work, token)
            return stack.enter_context(TestClient(app, "http://127.0.0.1")), work

        yield made


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier as `ser export` writes it, in a folder of its own."""
    root = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        base = small_encoder(root / "artifacts/encoders/tiny")
        folder = saved(trained(base, "full"), root / "m")
        preprocessing.write(folder, Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=None))
        export.main(folder, root / "model")
    return root / "model"
