"""A connection to Ray, and how this process stays what it was beside it.

Ray is started on this machine for as long as it is needed, or there is a cluster, of which this
machine is one (`ray start --address`). Whoever reaches a cluster of Ray may run code on it.
"""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError
from pipeline.ground.stage import Runtime
from pipeline.work.cluster import swept

# What a machine that is there takes to answer.
ANSWER_S = 10.0
SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@contextmanager
def joined(runtime: Runtime) -> Iterator[Any]:
    """Yield the module ``ray``, connected as ``runtime`` says.

    Raises:
        PipelineError: It is not installed, or there is no cluster at ``runtime.address``.
    """
    os.environ.update(SILENT)
    with as_before():
        ray = _imported()
    with ExitStack() as stack:
        if runtime.address:
            _require_answer(runtime.address)
            # Workers import what lies here, wherever they are.
            library = sys.modules[__name__.partition(".")[0]]
            code = {"py_modules": [str(Path(library.__path__[0]).resolve())]}
            how: dict[str, Any] = {"address": runtime.address, "runtime_env": code}
        else:
            # Sockets lie in it, whose paths may have a hundred characters.
            short = Path("/tmp")  # noqa: S108
            beside = short if short.is_dir() else Path(tempfile.gettempdir())
            folder = stack.enter_context(swept.folder(beside, "ser-ray-"))
            cpus = max(1, runtime.workers) * runtime.threads
            how = {"address": "local", "num_cpus": cpus, "_temp_dir": str(folder)}
        stack.enter_context(ending.undone(partial(_leave, ray)))
        try:
            with as_before():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **how)
        except Exception as error:  # noqa: BLE001 - of a slow start it raises no narrower one
            told = " ".join(str(error).split())[:200]
            if not runtime.address:
                raise PipelineError(
                    f"runtime.engine: Ray did not start on this machine ({told}), wait until it is "
                    "less busy and run it again, or set it to processes"
                ) from None
            raise PipelineError(
                f"params.yaml: runtime.address, Ray at {runtime.address} takes no driver ({told}), "
                "run `ray start --address` on this machine, of the version that the cluster has"
            ) from None
        yield ray


def _leave(ray: Any) -> None:
    with suppress(Exception):
        ray.shutdown()


def _imported() -> Any:
    try:
        import ray
        import ray._private.worker
    except ImportError:
        raise PipelineError(
            "params.yaml: runtime.engine is ray, which is not installed, run "
            "`pip install 'ser-pipeline[ray]'` or set it to processes"
        ) from None
    # It prints what happens to nodes on stdout, where results may go.
    ray._private.worker.listen_error_messages = lambda *_: None
    return ray


def _require_answer(address: str) -> None:
    """Look whether anybody is there: Ray itself would ask for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except OSError as error:
        raise PipelineError(
            f"params.yaml: runtime.address: nothing answers at {address} "
            f"({error.strerror or error}), start it there with `ray start --head` or leave it empty"
        ) from None


@contextmanager
def as_before() -> Iterator[None]:
    """Have Ray change neither handlers of signals, nor the process group, nor how errors show."""
    handlers = {number: signal.getsignal(number) for number in (*ending.SIGNALS, signal.SIGCHLD)}
    hook, group = sys.excepthook, os.getpgrp()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
        sys.excepthook = hook
        if os.getpgrp() != group:
            with suppress(OSError):  # all others in it have ended
                os.setpgid(0, group)
