"""The site is built, leads nowhere that is not there, and asks nobody over the net."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.ground.code import ROOT
from tests.site import blocks

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a link or an anchor that leads nowhere fails."""
    made = tmp_path_factory.mktemp("site")
    told = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return made


def test_every_page_is_in_the_navigation(site: Path) -> None:
    shown = (site / "index.html").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in shown or page.stem == "index", page


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    media = r"<(?:script|img|iframe|audio|source)[^>]* src=\"(?:https?:)?//"
    styles = r"<link[^>]* rel=\"(?:stylesheet|preconnect)\"[^>]* href=\"(?:https?:)?//"
    loads = re.compile(f"{media}|{styles}|@import")
    for page in site.glob("*.html"):
        assert not loads.search(page.read_text("utf-8")), page


def test_the_reference_holds_every_parameter_and_command(site: Path) -> None:
    told = (site / "commands.html").read_text("utf-8")
    assert all(f'id="ser-{name}"' in told for name in main.COMMANDS)
    shown = re.sub(r"<[^>]+>", "", (site / "parameters.html").read_text("utf-8"))
    assert "micro_batch_s: auto" in shown
    assert "def load" not in (told := (site / "api.html").read_text("utf-8"))
    assert all(name in told for name in ("load", "predict", "stream"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http", "mailto")):
            made = {"changelog.md", "parameters.md", "commands.md"}
            assert (page.parent / target).exists() or target in made, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_ser_on_a_page_is_one(page: Path) -> None:
    for block in blocks(page):
        for name in re.findall(r"(?:^|\| |; |&& )ser ([a-z]+)", block.commands, re.M):
            assert name in main.COMMANDS, name
