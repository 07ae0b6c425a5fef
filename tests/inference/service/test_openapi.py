"""The service does what its OpenAPI document says: requests that schemathesis makes of that."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.inference.service.process import serving

TOKEN = "t" * 32


@pytest.mark.parametrize("token", ["", TOKEN])
def test_made_requests_meet_what_the_document_says(model: Path, web: None, token: str) -> None:
    """All checks but one: that bytes are a recording is more than a schema can say."""
    with serving(model, "--max-mib", "1", SER_TOKEN=token) as service:
        assert service.get("/health").status_code == 200
        command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
        options = ["--max-examples", "30", "--seed", "24", "--generation-deterministic"]
        if token:
            options += ["--header", f"Authorization: Bearer {token}"]
        done = subprocess.run(
            [
                *command,
                f"{service.url}/openapi.json",
                *options,
                "--exclude-checks",
                "positive_data_acceptance",
            ],
            cwd=model.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "3 passed" in done.stdout
        assert service.get("/health").status_code == 200
        assert service.stop() == 0
        assert service.log.splitlines()[1:] == ["stopped"]
