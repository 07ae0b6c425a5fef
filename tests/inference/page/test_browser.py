"""The page in Debian's chromium: what is dropped, recorded, played, read and reached by keyboard.

A request that leaves this machine fails the test that made it.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from pipeline.audio.formats import Samples
from tests.inference.page import fake
from tests.inference.page.served import WEB, model_of, serving
from tests.inference.page.test_running import predicted
from tests.patience import PATIENCE_S
from tests.recordings import record, tone

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
SIZES = [(width, scheme) for width in (400, 1400) for scheme in ("light", "dark")]
# Roles of what is used, as chromium tells them to a screen reader.
USED = ("button", "link", "radio", "slider", "spinbutton", "tab", "combobox", "Audio")
Opened = Callable[..., Page]

pytestmark = [
    pytest.mark.usefixtures("web"),
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium"),
]
expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds that are loud and two that are not; also what the microphone hears."""
    quiet = np.concatenate([tone(2.0, level=0.5), tone(2.0, level=0.03)])
    return record(tmp_path_factory.mktemp("spoken") / "talk.wav", quiet)


@pytest.fixture(scope="module")
def browser(spoken: Path) -> Iterator[Browser]:
    with sync_playwright() as started:
        fed = f"--use-file-for-fake-audio-capture={spoken}"
        made = started.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, fed])
        yield made
        made.close()


@pytest.fixture(scope="module")
def emotion() -> Iterator[str]:
    with serving([sys.executable, "-m", "tests.inference.page.fake", "emotion"]) as (address, _):
        yield address


@pytest.fixture(scope="module")
def dimensions() -> Iterator[str]:
    with serving([sys.executable, "-m", "tests.inference.page.fake", "dimensions"]) as (address, _):
        yield address


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Open an address; what any page then asks of another machine fails the test."""
    strangers: list[str] = []
    errors: list[str] = []
    contexts = []

    def note(request: Request) -> None:
        place = urlsplit(request.url)
        if place.scheme not in ("data", "blob") and place.hostname != "127.0.0.1":
            strangers.append(request.url)

    def opened(address: str, width: int = 1400, scheme: Any = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            permissions=["microphone"],
            service_workers="block",
        )
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE_S)
        context.on("request", note)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert (strangers, errors) == ([], [])


def drop(page: Page, file: Path) -> None:
    page.set_input_files("#recording input[type=file]", file)
    page.wait_for_selector("#answer [data-said]")


def numbers(page: Page, place: str = "#answer") -> dict[str, str]:
    rows = page.locator(f"{place} .ser-bars tbody tr").all()
    return {row.locator("th").inner_text(): row.locator("td").last.inner_text() for row in rows}


def test_what_is_dropped_is_told_as_predict_tells_it(
    project: Path, tmp_path: Path, opened: Opened
) -> None:
    model, file = model_of(project), record(tmp_path / "talk.wav", tone(1.3))
    told = json.loads(predicted(file, model, "--json"))
    with serving([*WEB, model, "--port", "0", "--threads", "1"]) as (address, _):
        page = opened(address)
        drop(page, file)
        expect(page.locator("#answer .ser-headline strong")).to_have_text(told["emotion"])
        shown = {name: f"{value:.3f}" for name, value in told["probabilities"].items()}
        assert numbers(page) == shown
        rows = page.locator("#answer tr[data-start]")
        assert [row.inner_text().split()[1:4] for row in rows.all()] == [
            [f"{clip['start_s']:.2f}", f"{clip['end_s']:.2f}", clip["emotion"]]
            for clip in told["clips"]
        ]
        with page.expect_download() as saved:
            page.get_by_role("link", name="Download JSON").click()
        assert saved.value.suggested_filename == "talk.wav.json"
        assert json.loads(saved.value.path().read_text()) == told
        page.get_by_role("button", name="a woman, happy").click()
        expect(page.locator("#answer .ser-headline span")).to_contain_text("happy.wav")


def test_a_click_plays_a_segment_and_no_more(emotion: str, spoken: Path, opened: Opened) -> None:
    page = opened(emotion)
    drop(page, spoken)
    assert [
        row.split()[-2] for row in page.locator("#answer tr[data-start]").all_inner_texts()
    ] == [
        "happy",
        "happy",
        "sad",
        "sad",
    ]
    page.evaluate("window.heard = []")
    page.evaluate(
        "document.querySelector('#answer audio').addEventListener('timeupdate', (event) => "
        "window.heard.push(event.target.currentTime))"
    )
    page.get_by_role("button", name="Play segment 2").press("Enter")
    audio = "document.querySelector('#answer audio')"
    page.wait_for_function(f"{audio}.paused && {audio}.currentTime >= 2")
    assert page.evaluate("Math.min(...window.heard)") >= 1
    assert page.evaluate(f"{audio}.ended") is False
    page.locator("#answer .ser-name").nth(3).click()
    page.wait_for_function(f"!{audio}.paused && {audio}.currentTime > 3")
    expect(page.locator("#answer tr[aria-current]")).to_contain_text("3.00")
    expect(page.locator("#answer .ser-head")).to_be_visible()


def test_windows_have_the_length_that_is_chosen(emotion: str, spoken: Path, opened: Opened) -> None:
    page = opened(emotion)
    drop(page, spoken)
    page.get_by_label("windows").check()
    page.get_by_role("spinbutton").fill("0.5")
    page.get_by_role("spinbutton").press("Tab")
    page.get_by_label("speech").check()
    page.get_by_label("windows").check()
    expect(page.locator("#answer tr[data-start]")).to_have_count(8)


def test_the_point_moves_with_what_is_played(dimensions: str, spoken: Path, opened: Opened) -> None:
    page = opened(dimensions)
    drop(page, spoken)
    row, point = page.locator("#answer tr[data-start]").last, page.locator("#answer .ser-point")
    whole = point.get_attribute("style")
    row.get_by_role("button").click()
    x, y = row.get_attribute("data-x"), row.get_attribute("data-y")
    expect(point).to_have_css("cx", f"{x}px")
    expect(point).to_have_css("cy", f"{y}px")
    assert point.get_attribute("style") != whole


def test_a_microphone_has_an_answer_a_second(emotion: str, spoken: Path, opened: Opened) -> None:
    """Of the seconds that were heard, each once; loud and quiet come in turn, as in the file."""
    page = opened(emotion)
    page.get_by_role("tab", name="Live").click()
    button = page.locator("#live button")
    assert button.inner_text() == "Listen to the microphone"
    button.click()
    expect(page.locator("#live .ser-name").nth(9)).to_be_visible()
    button.click()
    expect(page.locator("#live .ser-state")).to_have_text("Stopped.")
    found = page.locator("#live .ser-name").all()
    ends = [float(one.get_attribute("data-end") or "nan") for one in found]
    starts = [float(one.get_attribute("data-start") or "nan") for one in found]
    assert starts == [0, *ends[:-1]]
    assert ends[:9] == list(range(1, 10))
    titles = page.locator("#live .ser-shares title").all_text_contents()
    happy = [float(title.split()[1]) for title in titles if title.startswith("happy")]
    assert len(happy) == len(found)
    # Some second lies within the loud ones, and some within the others.
    assert max(happy) == pytest.approx(share(tone(2.0, level=0.5)), abs=0.05)
    assert min(happy) == pytest.approx(share(tone(2.0, level=0.03)), abs=0.05)


def share(wave: Samples) -> float:
    """How probable it is to `fake` that this is happy."""
    odds = np.exp(fake.emotion([wave])[0])
    return float(odds[0] / odds.sum())


def test_what_is_recorded_is_told(emotion: str, opened: Opened) -> None:
    page = opened(emotion)
    page.get_by_role("button", name="Record audio").click()
    page.locator("#recording .record-button").click()
    page.locator("#recording .stop-button").wait_for()
    expect(page.locator("#recording .duration")).to_have_text("0:03")
    page.locator("#recording .stop-button").click()
    expect(page.locator("#answer .ser-headline")).to_contain_text("happy")


@pytest.mark.parametrize(("width", "scheme"), SIZES)
@pytest.mark.parametrize("target", ["emotion", "dimensions"])
def test_it_fits_in_any_light(  # noqa: PLR0917
    request: pytest.FixtureRequest,
    spoken: Path,
    opened: Opened,
    tmp_path: Path,
    target: str,
    width: int,
    scheme: str,
) -> None:
    """Nothing is wider than the screen, and text stands out as WCAG 2.1 AA asks."""
    page = opened(request.getfixturevalue(target), width, scheme)
    drop(page, spoken)
    page.screenshot(path=tmp_path / f"{target}-{width}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    weak = page.evaluate(CONTRAST)
    assert weak == []


# Text of ours and its contrast, where that is below 4.5 (3 for large text).
CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(node).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faded = (node) => {
    let all = 1;
    for (; node; node = node.parentElement) all *= getComputedStyle(node).opacity;
    return all;
  };
  const weak = [];
  for (const node of document.querySelectorAll('.ser-title *, .ser-answer *')) {
    const text = [...node.childNodes].filter((one) => one.nodeType === 3 && one.data.trim());
    if (!text.length || node.closest('svg, .ser-unseen')) continue;
    const below = ground(node), opacity = faded(node);
    const above = parts(getComputedStyle(node).color).slice(0, 3)
      .map((c, i) => c * opacity + below[i] * (1 - opacity));
    const [a, b] = [light(above), light(below)].sort((x, y) => y - x);
    const large = parseFloat(getComputedStyle(node).fontSize) >= 24;
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) weak.push([node.outerHTML, a, b]);
  }
  return weak;
}"""


def test_the_keyboard_reaches_everything_and_everything_has_a_name(
    emotion: str, spoken: Path, opened: Opened
) -> None:
    page = opened(emotion)
    drop(page, spoken)
    for tab in ("Recording", "Live"):
        page.get_by_role("tab", name=tab).click()
        page.evaluate("window.reached = new Set()")
        for _ in range(2):  # from what was clicked to the end, and from the begin
            tab_to_the_end(page)
        missed = page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input, select, audio')]
            .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.disabled
              && one.type !== 'file' && !one.closest('[aria-hidden=true]')
              && !window.reached.has(one)
              // One of a group of radio buttons is reached, and its arrows reach the others.
              && !(one.type === 'radio' && [...window.reached].some((r) => r.name === one.name)))
            .map((one) => one.outerHTML)"""
        )
        assert missed == []
        nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        unnamed = [
            node
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in USED
            and not node.get("name", {}).get("value")
            and not _is_inside(node, nodes)
        ]
        assert unnamed == []


def tab_to_the_end(page: Page) -> None:
    """Note in ``window.reached`` what has the focus on the way."""
    for _ in range(200):
        page.keyboard.press("Tab")
        ended = page.evaluate(
            "(window.reached.add(document.activeElement), document.activeElement === document.body)"
        )
        if ended:
            return
    raise AssertionError("the focus came to no end")


def _is_inside(node: dict[str, Any], nodes: list[dict[str, Any]]) -> bool:
    """Whether it is a part of the browser's own player."""
    known = {one["nodeId"]: one for one in nodes}
    while node := known.get(node.get("parentId", ""), {}):
        if node.get("role", {}).get("value") == "Audio":
            return True
    return False


def test_an_answer_is_said_to_who_does_not_see_it(
    emotion: str, spoken: Path, opened: Opened
) -> None:
    page = opened(emotion)
    drop(page, spoken)
    said = page.locator(".ser-said").filter(has_text="%")
    expect(said).to_have_role("status")
    expect(said).to_have_text(page.locator("#answer [data-said]").get_attribute("data-said") or "")


def test_what_is_wrong_is_one_line_in_the_page(
    emotion: str, tmp_path: Path, opened: Opened
) -> None:
    page = opened(emotion)
    (tmp_path / "notes.wav").write_text("no audio")
    drop(page, tmp_path / "notes.wav")
    alert = page.locator("#answer [role=alert]")
    expect(alert).to_contain_text("notes.wav: ")
    assert len(alert.inner_text().splitlines()) == 1
    assert "/" not in alert.inner_text()
    page.locator("#recording").get_by_role("button", name="Clear").click()
    drop(page, record(tmp_path / "long.wav", tone(21)))
    expect(alert).to_have_text("long.wav: too_long, more than 20 s of audio, cut it")
    page.locator("#recording").get_by_role("button", name="Clear").click()
    page.set_input_files(
        "#recording input[type=file]", record(tmp_path / "large.wav", tone(100, rate_hz=44_100))
    )
    expect(page.get_by_text("maximum", exact=False).first).to_be_visible()


def test_who_has_the_token_comes_in(project: Path, opened: Opened) -> None:
    token = "0123456789abcdef"  # noqa: S105
    with serving([*WEB, model_of(project), "--port", "0"], SER_TOKEN=token) as (address, _):
        page = opened(address)
        expect(page.get_by_text("the token as the password")).to_be_visible()
        assert page.locator("#recording").count() == 0
        page.get_by_label("username").fill("someone")
        page.get_by_label("password").fill(token)
        page.get_by_role("button", name="Login").click()
        expect(page.locator("#recording")).to_be_visible()
