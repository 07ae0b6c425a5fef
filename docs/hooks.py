"""What the site takes from the code at each build: parameters, commands, the changelog."""

import contextlib
import io
import os
import re
from pathlib import Path
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from pipeline.cli import main

ROOT = Path(__file__).resolve().parent.parent
WIDE = {"COLUMNS": "96", "TERM": "dumb", "NO_COLOR": "1"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {"parameters.md": _parameters, "commands.md": _commands, "changelog.md": _changelog}
    for name, page in made.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links out of docs/ lead nowhere on the site: their text stays."""
    return re.sub(r"\[([^]]*)\]\(\.\./[^)]*\)", r"\1", markdown)


def _parameters() -> str:
    text = (ROOT / "presets/demo.yaml").read_text("utf-8")
    return (
        "# Parameters\n\nAll of them, with comments: `params.yaml` as it is shipped, which is the "
        "demo. A preset (`ser preset NAME`) is an overlay on it.\n\n"
        f"```yaml\n{text}```\n"
    )


def _commands() -> str:
    parts = [f"# The command `ser`\n\n```text\n{_help()}\n```\n"]
    parts += [f"## ser {name}\n\n```text\n{_help(name)}\n```\n" for name in main.COMMANDS]
    return "\n".join(parts)


def _help(*words: str) -> str:
    told = io.StringIO()
    quiet = contextlib.suppress(SystemExit)
    with mock.patch.dict(os.environ, WIDE), contextlib.redirect_stdout(told), quiet:
        main.app([*words, "--help"])
    lines = told.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text("utf-8")
