"""The README's picture: ``python -m benchmarks.web_picture MODEL docs/images/web.png``.

A model's page in chromium, with the first of its synthetic voices, second by second.
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1120, 760
COLOURS = 64  # of the picture, which keeps it small
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


def main(model: str, picture: Path) -> None:
    """Serve the model's page for as long as it takes to draw it."""
    command = [sys.executable, "-m", "ser_pipeline", "web", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout
            address = serving.stdout.readline().split()[0]
            with sync_playwright() as started:
                browser = started.chromium.launch(
                    executable_path=shutil.which("chromium"), args=ARGUMENTS
                )
                page = browser.new_page(
                    viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light"
                )
                page.goto(address)
                shown = answered(page)
                browser.close()
        finally:
            serving.terminate()
    picture.parent.mkdir(parents=True, exist_ok=True)
    small = Image.open(io.BytesIO(shown)).convert("RGB").quantize(COLOURS)
    small.save(picture, optimize=True)


def answered(page: Page) -> bytes:
    """The page with the answer to its first example, in windows of a second."""
    page.get_by_label("windows").check()
    page.locator(".gallery-item").first.click()
    page.wait_for_selector("#answer tr[data-start]:nth-child(2)")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(
        1000
    )  # for the waveform of the player, which says nothing when it is drawn
    return page.screenshot()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
