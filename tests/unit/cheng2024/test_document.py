"""The tables of docs/study-laws.md, which are made from the laws that ship."""

import re
from pathlib import Path

import pytest

from plm_scaling.cheng2024.document import TABLE, TABLES, document, markdown
from plm_scaling.laws.result import read_law
from plm_scaling.planner.question import PUBLISHED_LAWS

PAGE = Path(__file__).resolve().parents[3] / "docs/study-laws.md"


def test_page_has_the_numbers_of_the_laws_that_ship():
    page = PAGE.read_text()
    assert document(page) == page, "run `make docs`"


def test_every_table_stands_on_the_page_and_none_twice():
    names = [name for _, name, _ in TABLE.findall(PAGE.read_text())]
    assert len(names) == len(set(names))
    assert set(TABLES) <= set(names)


def test_changed_number_is_made_again():
    page = PAGE.read_text()
    assert document(re.sub(r"CLM IsoFLOP \| N .*", "CLM IsoFLOP | N = 7 |", page)) == page


@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_table_holds_the_exponent_of_the_law_file_with_its_interval(objective):
    equation = read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json").equations["N"]
    low, high = equation.interval["a"]
    number = f"a = {equation.parameters['a']:.3g} [{low:.3g}, {high:.3g}]"
    rows = document("<!-- the study: isoflop -->\n<!-- end -->").splitlines()
    assert any(
        number in row for row in rows if row.startswith(f"| {objective.upper()} IsoFLOP | N")
    )


def test_readme_has_the_status_of_the_isoflop_laws_that_ship():
    words = " ".join((PAGE.parents[1] / "README.md").read_text().split())
    for objective in ("clm", "mlm"):
        status = read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json").status
        assert re.search(rf"the {objective.upper()}'s[^:;.`]* is `{status}`, as", words)


def test_markdown_leaves_out_empty_columns_and_escapes_what_would_be_markup():
    rows = [{"R*": "1 | 2", "none": "–", "flag": "<span>no</span>"}]
    assert markdown(rows) == "| R\\* | flag |\n| --- | --- |\n| 1 \\| 2 | no |\n"
