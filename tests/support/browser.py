"""A real headless Chromium for pages that must be looked at."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)


def missing() -> str:
    """Why no browser can be started; '' if one can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found" if absent else ""


@contextmanager
def chromium(profile: Path, width: int, height: int = 900) -> Iterator[webdriver.Chrome]:
    """A browser whose page is `width` CSS pixels wide, with a new, empty `profile`."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        # a window cannot be narrower than 500 pixels; the emulated screen can
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield driver
    finally:
        driver.quit()


def check_page(page: Path, profile: Path, width: int, figures: Collection[str]) -> None:
    """The page shows these figures, each in full, without errors and within `width` pixels."""
    with chromium(profile, width) as driver:
        driver.get(page.as_uri())
        assert driver.get_log("browser") == []
        assert driver.execute_script("return innerWidth") == width
        boxes = driver.execute_script(
            "return [...document.querySelectorAll('figure svg')].map(svg => {"
            "  const box = svg.getBoundingClientRect();"
            "  const ink = svg.getBBox();"
            "  return [svg.closest('figure').id, box.width, box.height, box.right, ink.width];"
            "})"
        )
        assert {box[0] for box in boxes} == {f"figure-{name}" for name in figures}
        for name, shown_width, shown_height, right, ink in boxes:
            assert shown_width > 0.8 * min(width, 400), name
            assert shown_height > 100, name
            assert right <= width, name
            assert ink > 0, name
        overflow = "return document.documentElement.scrollWidth - innerWidth"
        assert driver.execute_script(overflow) <= 0
        clipped = (
            "return [...document.querySelectorAll('p, li, h1, h2, figcaption')]"
            ".filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth).length"
        )
        assert driver.execute_script(clipped) == 0
