"""The README's picture of the report: ``python -m benchmarks.report_picture``, after the demo."""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.web_picture import ARGUMENTS, COLOURS

REPORT, PICTURE = Path("results/report.html"), Path("docs/images/report.png")
WIDTH, HEIGHT = 1120, 720


def main() -> None:
    """Draw the first screen in chromium, small."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(REPORT.absolute().as_uri())
        shown = page.screenshot()
        browser.close()
    small = Image.open(io.BytesIO(shown)).convert("RGB").quantize(COLOURS)
    small.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
