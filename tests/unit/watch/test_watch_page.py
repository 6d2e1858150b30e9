"""The page in a real browser: it shows a study as its files have it, and follows them."""

import pytest
import synthetic
import watched
from browser import check_width, open_page
from selenium.webdriver.support.ui import WebDriverWait
from watched import serving

from plm_scaling.study.sweep_table import read_sweep


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    with watched.write_half_done(folder), serving(folder) as server:
        server.folder = folder
        yield server


def wait(driver, script):
    """Until the script in the page gives something."""
    return WebDriverWait(driver, 60, 0.1).until(lambda d: d.execute_script(f"return {script}"))


def opened(driver, server, width, text="cells finished", fragment=""):
    open_page(driver, "about:blank", width)
    open_page(driver, server.address + fragment, width)
    wait(driver, f"document.body.innerText.includes({text!r})")


def of_cell(driver, cell, column):
    """The text of a cell's row in a column."""
    return driver.execute_script(
        "const heads = [...document.querySelectorAll('.cells thead th')].map(e => e.textContent);"
        "const rows = [...document.querySelectorAll('.cells tbody tr')];"
        "const own = row => row.children[heads.indexOf('cell')].textContent === arguments[0];"
        "const row = rows.find(own);"
        "return row.children[heads.indexOf(arguments[1])].textContent",
        *(cell, column),
    )


@pytest.mark.parametrize("width", [1280, 400])
def test_all_of_a_study_in_training_is_there_and_nothing_is_cut_off(chromium, study, width):
    opened(chromium, study, width)
    wait(chromium, "document.querySelectorAll('figure > svg').length === 3")  # curves come second
    check_width(chromium)
    text = chromium.execute_script("return document.body.innerText")
    for said in (
        *("25 of 30", "filter 1/4", "score_part", "[select] 40 % of 2M", "1 job failed"),
        *("CLM isoflop", "MLM isoflop", "Forecasts, made before the cell began"),
        *("-hours left", watched.WHY),
    ):
        assert said.lower() in text.lower(), said
    boxes = chromium.execute_script(
        "return [...document.querySelectorAll('figure > svg')].map(svg => {"
        "  const box = svg.getBoundingClientRect(), ink = svg.getBBox();"
        "  return [box.width, box.height, box.right, ink.width, svg.viewBox.baseVal.width] })"
    )
    assert len(boxes) == 3  # curves, and the law of each objective
    for shown, height, right, ink, drawn in boxes:
        assert min(shown, height) > 200
        assert right <= width
        assert ink <= drawn
        assert shown == pytest.approx(drawn, rel=0.05)  # letters keep their size
    assert of_cell(chromium, watched.FAILED, "state") == "failed"
    assert of_cell(chromium, watched.DIVERGED, "why").startswith("loss is not finite")
    assert of_cell(chromium, watched.RUNNING, "tokens/s") == "4k"
    assert chromium.get_log("browser") == []


def test_text_of_files_is_never_markup(chromium, study):
    opened(chromium, study, 1280)
    assert chromium.execute_script("return document.querySelectorAll('#main script').length") == 0
    assert watched.WHY in chromium.execute_script("return document.body.innerText")


def test_page_follows_the_files_and_keeps_the_focus(chromium, study):
    opened(chromium, study, 1280)
    chromium.execute_script(
        "document.querySelector(`.cells input[aria-label^='compare MLM']`).focus()"
    )
    results = study.folder / "results/demo"
    watched.write_running(results, watched.RUNNING, share=0.75)
    wait(
        chromium,
        "[...document.querySelectorAll('.cells td')].some(e => e.textContent === '75 %')",
    )
    assert chromium.execute_script("return document.activeElement.type") == "checkbox"
    cell = read_sweep(results / "sweep.tsv")[watched.RUNNING]
    synthetic.write_cell(results / "runs" / watched.RUNNING, cell, 2.5)
    wait(chromium, "document.body.innerText.includes('26 of 30')")
    assert of_cell(chromium, watched.RUNNING, "state") == "finished"
    watched.write_running(results, watched.RUNNING)
    wait(chromium, "document.body.innerText.includes('25 of 30')")


def test_cells_are_chosen_by_keyboard_and_the_choice_is_in_the_address(chromium, study):
    opened(chromium, study, 1280)
    lines = "document.querySelectorAll('.key li').length"
    wait(chromium, f"{lines} === 6")
    chromium.execute_script("document.querySelectorAll('.controls button')[0].click()")
    wait(chromium, f"{lines} === 0")
    box = "document.querySelectorAll('.cells input')"
    for number in (0, 20):
        chromium.execute_script(f"{box}[{number}].focus()")
        chromium.switch_to.active_element.send_keys(" ")
    wait(chromium, f"{lines} === 2")
    address = chromium.current_url
    assert address.endswith("#cells=demo/clm000,demo/mlm020")
    opened(chromium, study, 1280, fragment="#" + address.partition("#")[2])
    wait(chromium, f"{lines} === 2")
    assert chromium.execute_script(f"return [...{box}].filter(e => e.checked).length") == 2


def test_more_cells_than_curves_are_sent_of_is_said(chromium, study):
    cells = ",".join(f"demo/clm{number:03}" for number in range(41))
    opened(
        chromium, study, 1280, "Of the 41 chosen cells the first 40 are drawn", f"#cells={cells}"
    )


def test_before_a_sweep_is_planned_the_page_says_so(chromium, tmp_path):
    with serving(tmp_path) as server:
        opened(chromium, server, 400, "No sweep is planned here yet")
        check_width(chromium)
        for _ in range(2):
            chromium.execute_script("show()")
        text = chromium.execute_script("return document.body.innerText")
        assert text.count("No sweep is planned") == 1
        synthetic.write_study(tmp_path / "results/demo", n_sizes=2)
        wait(chromium, "document.body.innerText.includes('12 of 12')")
        assert chromium.get_log("browser") == []


def test_page_says_that_it_is_old_when_the_server_has_ended(chromium, tmp_path):
    with serving(tmp_path) as server:
        opened(chromium, server, 1280, "No sweep is planned here yet")
    wait(chromium, "document.body.innerText.includes('does not answer any more')")
    chromium.get("about:blank")
    chromium.get_log("browser")  # each question without an answer is in it


def test_dark_and_light_differ_and_both_can_be_read(chromium, study):
    """Contrast of text against the page, as WCAG 2 asks of text: at least 4.5."""
    for scheme in ("dark", "light"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        opened(chromium, study, 1280)
        colours = chromium.execute_script(
            "return [document.body, document.querySelector('.soft'), document.querySelector('h3'),"
            " document.querySelector('td.state-failed')].map(e => getComputedStyle(e).color)"
            ".concat(getComputedStyle(document.body).backgroundColor)"
        )
        *inks, paper = [luminance(colour) for colour in colours]
        assert (paper < 0.2) == (scheme == "dark")
        for ink in inks:
            assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 4.5, (scheme, colours)


def luminance(colour):
    """Relative, of 'rgb(r, g, b)'."""
    values = [int(v) / 255 for v in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
