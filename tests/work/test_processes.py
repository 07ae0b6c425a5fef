"""Processes that train together."""

import subprocess
import sys
from pathlib import Path

from tests import torchrun
from tests.patience import PATIENCE_S

PROGRAM = """
from datetime import timedelta
import torch
from pipeline.work.processes import join
mine, device = join("cpu", patience=timedelta(hours=3))
value = mine.from_main(lambda: f"of {mine.index}")
group = torch.distributed.group.WORLD._get_backend(device)
print(mine.index, value, group.options._timeout)
"""


def test_processes_wait_as_long_as_told_for_what_the_first_computes(tmp_path: Path) -> None:
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    told |= {"MASTER_PORT": str(torchrun.free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
            env=torchrun.variables(told | {"RANK": rank, "LOCAL_RANK": rank}),
        )
        for rank in "01"
    ]  # fmt: skip
    said = [one.communicate(timeout=PATIENCE_S)[0].strip() for one in started]
    assert said == ["0 of 0 3:00:00", "1 of 0 3:00:00"]
