"""A real headless Chromium for pages that must be looked at."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium import webdriver

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
PAGE_PIXELS = 700  # two columns of print, legible, with the page's margins


def missing() -> str:
    """Why no browser can be started; '' if one can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found" if absent else ""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator["webdriver.Chrome"]:
    """A browser with a new, empty profile; tests without one are skipped."""
    if missing():
        pytest.skip(missing())
    from selenium import webdriver  # not for all other tests
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def open_page(driver: "webdriver.Chrome", page: Path | str, width: int) -> None:
    """The page (a file or an address), `width` CSS pixels wide, without errors."""
    # A window cannot be narrower than 500 pixels; the emulated screen can.
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get(page if isinstance(page, str) else page.as_uri())
    assert driver.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert driver.execute_script("return innerWidth") == width


def check_figures(driver: "webdriver.Chrome", width: int, figures: Collection[str]) -> None:
    """With all its parts open the page shows these figures, each in full; only on a screen too
    narrow for two columns of print (`width` pixels) do they, and nothing else, scroll."""
    unfold(driver)
    boxes = driver.execute_script(
        "return [...document.querySelectorAll('figure svg')].map(svg => {"
        "  const box = svg.getBoundingClientRect();"
        "  const ink = svg.getBBox();"
        "  const right = svg.parentElement.getBoundingClientRect().right;"
        "  const hidden = svg.parentElement.scrollWidth - svg.parentElement.clientWidth;"
        "  return [svg.closest('figure').id, box.width, box.height, right, ink.width, hidden];"
        "})"
    )
    assert {box[0] for box in boxes} == {f"figure-{name}" for name in figures}
    for name, shown_width, shown_height, right, ink, hidden in boxes:
        assert shown_width > 0.8 * min(width, 400), name
        assert shown_height > 100, name
        assert right <= width, name
        assert ink > 0, name
        assert hidden <= 1 or width < PAGE_PIXELS, name
    check_width(driver)


def check_width(driver: "webdriver.Chrome") -> None:
    """Nothing of the page is wider than the window but what scrolls by itself."""
    overflow = "return document.documentElement.scrollWidth - innerWidth"
    assert driver.execute_script(overflow) <= 0
    clipped = (
        "return [...document.querySelectorAll('p, li, h1, h2, figcaption')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth).length"
    )
    assert driver.execute_script(clipped) == 0


def unfold(driver: "webdriver.Chrome") -> None:
    """Open all that a click would open."""
    driver.execute_script("document.querySelectorAll('details').forEach(e => { e.open = true; })")


def check_tables(driver: "webdriver.Chrome") -> None:
    """With all its parts open no table of the page needs to be scrolled."""
    unfold(driver)
    wide = (
        "return [...document.querySelectorAll('.table')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 80))"
    )
    assert driver.execute_script(wide) == []


def check_answer_first(driver: "webdriver.Chrome", width: int) -> None:
    """Before anything is opened: what to train, how sure and why, one figure, what limits it."""
    words = driver.execute_script("return document.body.innerText")
    order = ["train", "How sure?", "Why?", "What limits this", "Glossary"]
    places = [words.index(word) for word in order]
    assert places == sorted(places)
    seen = (
        "return [...document.querySelectorAll('figure')].filter(e => e.checkVisibility()).map("
        "e => e.getBoundingClientRect().bottom)"
    )
    assert len(driver.execute_script(seen)) == 1
    height = driver.execute_script("return document.documentElement.scrollHeight")
    assert height < 3_000_000 / width  # 2,300 pixels at a width of 1280


def check_link_opens(driver: "webdriver.Chrome", part: str) -> None:
    """A link to a folded part opens it."""
    is_open = f"return document.querySelector('#{part} > details').open"
    assert not driver.execute_script(is_open)
    driver.execute_script(f"document.querySelector('nav a[href=\"#{part}\"]').click()")
    driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    assert driver.execute_script(is_open)
