"""The report in a real browser: what it shows, that it loads nothing, runs nothing but its own script, and can be used."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gapbench.report.page.html import write_report
from gapbench.report.page.together import Part, Together
from tests.test_report import (
    HOSTILE,
    MANIFEST,
    SECTIONS,
    run_page,
    synthetic_estimates,
    synthetic_examples,
    synthetic_panels,
)

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (extra: dev)")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
PATIENCE = 300  # seconds: a busy machine is slow, and that is not what is tested

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None,
    reason="no chromium with its driver here: apt-get install chromium chromium-driver",
)

ATTACK = HOSTILE + "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, with figures, and examples that attack."""
    estimates, panels = synthetic_estimates(), synthetic_panels()
    examples = [
        {**one, "text": ATTACK, "said": [{"verifier": ATTACK, "replicate": 0, "score": 0.5, "status": ATTACK, "text": ATTACK}]}
        for one in synthetic_examples()
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("one") / "report.html"
    return write_report(path, [run_page(estimates, panels, {**MANIFEST, "attack": ATTACK}, examples)])


@pytest.fixture(scope="module")
def several(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several runs on one page."""
    estimates = synthetic_estimates()
    bare = run_page(estimates, synthetic_panels(), MANIFEST, synthetic_examples(), "first-")
    pages = [bare, *(replace(bare, label=f"organisation/model-{place}", figures=()) for place in range(4))]
    path = tmp_path_factory.mktemp("several") / "report.html"
    return write_report(path, pages, Together(scaling=Part(why_not="No law of scaling: `why` not.")))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(switch)
    if os.geteuid() == 0:  # its sandbox refuses to run as root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=CHROMEDRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.command_executor.client_config.timeout = PATIENCE
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


def opened(
    browser: Any, page: Path, *, width: int = 1280, dark: bool = False, media: str = ""
) -> list[dict[str, Any]]:
    """Open a page from disk; the requests that were made for it."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"] for event in events if event["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("name", ["page", "several"])
def test_a_page_is_whole_and_asks_for_nothing(
    browser: Any, name: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    requests = opened(browser, path)
    assert {one["url"] for one in requests} <= {path.as_uri(), "data:,"}
    assert path.as_uri() in {one["url"] for one in requests}
    found = browser.execute_script("return Array.from(document.querySelectorAll('section'), (one) => one.id)")
    assert found == list(SECTIONS)  # what takes several runs is named under `absent` here
    # What is far down is laid out on the way there.
    for section in SECTIONS:
        shown = "document.getElementById(arguments[0]).scrollIntoView(); return document.getElementById(arguments[0]).innerText"
        assert browser.execute_script(shown, section).strip()
    assert browser.get_log("browser") == []
    later = [json.loads(entry["message"])["message"]["method"] for entry in browser.get_log("performance")]
    assert "Network.requestWillBeSent" not in later
    cards = browser.execute_script(
        "return Array.from(document.querySelectorAll('.card'), (one) => one.getBoundingClientRect().bottom + window.scrollY)"
    )
    assert len(cards) == 4
    assert max(cards) < 1600


def test_hostile_text_is_inert(browser: Any, page: Path) -> None:
    opened(browser, page)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    counts = "return ['script', 'img', 'iframe', 'article script', 'pre *'].map((one) => document.querySelectorAll(one).length)"
    assert browser.execute_script(counts) == [1, 0, 0, 0, 0]
    assert browser.execute_script("return window.hacked === undefined")
    text = browser.execute_script("return document.querySelector('#examples').textContent")
    assert "<script>window.hacked = 1</script>" not in text, "it lies behind the cut"
    assert '<script>alert("x")</script>' in text
    assert "␛[31mred" in text
    assert "⟨U+202E⟩evil" in text
    assert "more characters" in text
    assert browser.get_log("browser") == []
    assert page.stat().st_size < 2_000_000


def test_no_script_but_the_pages_own_runs(browser: Any, page: Path) -> None:
    opened(browser, page)
    inject = (
        "const one = document.createElement('script'); one.textContent = 'window.hacked = 1'; document.body.append(one);"
        "const two = document.createElement('img'); two.setAttribute('onerror', 'window.hacked = 2'); two.src = 'x.png'; document.body.append(two);"
    )
    browser.execute_script(inject)
    result = "setTimeout(() => arguments[0](window.hacked === undefined), 500)"
    assert browser.execute_async_script(result)
    refused = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert "Content Security Policy" in refused


def rows(browser: Any, table: str, column: int) -> list[str]:
    return list(
        browser.execute_script(
            "return Array.from(document.getElementById(arguments[0]).closest('table').tBodies[0].rows, (row) => row.cells[arguments[1]].firstChild.textContent.trim())",
            table,
            column,
        )
    )


def test_tables_sort_by_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened(browser, page)
    before = rows(browser, "t-grid", 2)
    assert before[0] == "+0.062"
    region = browser.execute_script("return document.getElementById('t-grid').closest('.scroll')")
    browser.execute_script("arguments[0].focus()", region)
    for _ in range(3):  # to the third heading
        ActionChains(browser).send_keys(Keys.TAB).perform()
    focused = "return document.activeElement.innerText.trim()"
    assert browser.execute_script(focused) == "yesno, best@8"
    state = "return [document.activeElement.parentElement.getAttribute('aria-sort'), document.getElementById('sorted').textContent]"

    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script(state) == ["descending", "Table sorted by yesno, best@8, descending"]
    found = rows(browser, "t-grid", 2)
    assert found == ["+0.091", "+0.062", "+0.025", "+0.008", "+0.000", "−0.041", "not estimable"]
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert browser.execute_script(state)[0] == "ascending"
    assert rows(browser, "t-grid", 2) == [*found[-2::-1], "not estimable"], "words come last whichever way"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script(state)[0] == "none"
    assert rows(browser, "t-grid", 2) == before

    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).send_keys(Keys.TAB).key_up(
        Keys.SHIFT
    ).send_keys(Keys.ENTER).perform()
    assert browser.execute_script(state)[0] == "ascending", "words sort as words"
    names = rows(browser, "t-grid", 0)
    assert names == sorted(names)


@pytest.mark.parametrize("name", ["page", "several"])
@pytest.mark.parametrize("width", [320, 375, 768])
def test_a_narrow_page_does_not_scroll_sideways(
    browser: Any, name: str, width: int, request: pytest.FixtureRequest
) -> None:
    opened(browser, request.getfixturevalue(name), width=width)
    browser.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.execute_script(
        "for (const one of document.querySelectorAll('section')) one.style.contentVisibility = 'visible'"
    )
    seen, wide = browser.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    )
    assert wide == seen <= width, "tables and figures scroll in their own frame"
    small = browser.execute_script(
        "return Array.from(document.querySelectorAll('p, li, td, th, dd'), (one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(small) >= 12


def test_light_dark_print_and_without_script(browser: Any, page: Path, several: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    opened(browser, page)
    assert browser.execute_script(ground) == "rgb(255, 255, 255)"
    hidden = (
        "return document.querySelector('#manifest table').checkVisibility({contentVisibilityAuto: false})"
    )
    assert not browser.execute_script(hidden)
    opened(browser, page, dark=True)
    assert browser.execute_script(ground) == "rgb(15, 20, 25)"
    opened(browser, page, dark=True, media="print")
    assert browser.execute_script(ground) == "rgb(255, 255, 255)"
    assert browser.execute_script(hidden), "what is folded is printed"
    opened(browser, several, media="print")
    assert not browser.execute_script(hidden), "of several runs only what a reader has opened"
    headings = (
        "return Array.from(document.querySelectorAll('.sortable thead th'), (one) => [getComputedStyle(one, '::before').content,"
        " JSON.stringify(one.textContent), getComputedStyle(one.firstElementChild).display])"
    )
    for shown, name, button in browser.execute_script(headings):
        assert (shown, button) == (name, "none"), (
            "Chromium does not repeat a button at the head of the next sheet"
        )
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, page)
        source = browser.page_source
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "<button" not in source, "a heading is no button where it could do nothing"
    assert "How much headroom?" in source


def test_everything_that_takes_the_focus_has_a_name(browser: Any, page: Path) -> None:
    opened(browser, page)
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]

    def said(node: dict[str, Any], what: str) -> str:
        return str(node.get(what, {}).get("value", ""))

    live = [node for node in tree if not node.get("ignored")]
    roles = {
        "button",
        "link",
        "region",
        "group",
        "image",
        "img",
        "table",
        "columnheader",
        "DisclosureTriangle",
    }
    named = [node for node in live if said(node, "role") in roles]
    assert {"button", "link", "region", "group", "table"} <= {said(node, "role") for node in named}
    tabled = "return Array.from(document.querySelectorAll('.scroll'), (one) => one.getAttribute('aria-labelledby') ?? one.ariaLabel)"
    assert all(browser.execute_script(tabled))
    unnamed = [said(node, "role") for node in named if not said(node, "name")]
    assert set(unnamed) <= {"group"}, "a folded part is a group, and its button has the name"


def test_the_tab_key_stops_where_there_is_something_to_do(browser: Any, page: Path) -> None:
    opened(browser, page)
    browser.execute_async_script("requestIdleCallback(() => requestIdleCallback(arguments[0]))")
    focused = (
        "const one = document.activeElement, style = getComputedStyle(one);"
        "return [one.tagName, one.className, one.scrollWidth > one.clientWidth, style.outlineStyle, parseFloat(style.outlineWidth)]"
    )
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    tags = []
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        tag, name, scrolls, outline, width = browser.execute_script(focused)
        tags.append(tag)
        assert outline == "solid"
        assert width >= 2, "the focus is seen"
        assert name != "scroll" or scrolls, "what fits is no stop"
    assert {"A", "BUTTON"} <= set(tags)
    levels = browser.execute_script(
        "return Array.from(document.querySelectorAll('h1, h2, h3, h4'), (one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert max(later - level for level, later in itertools.pairwise(levels)) <= 1, (
        "no level of headings is left out"
    )
