"""Links to the pages from outside of the site; `make site` checks those of the site."""

import re

import pytest

LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAMED = re.compile(r"\bdocs/[\w-]+\.md\b")
CODE = ("src", "rules", "scripts", "benchmarks", "config", "profiles", "envs", "tests")


def anchors(text):
    """The names that GitHub gives to headings."""
    return {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in HEADING.findall(text)
    }


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_lead_to_files_and_headings(root, page):
    links = LINK.findall(root.joinpath(page).read_text())
    assert links
    assert not [path for path, _ in links if not root.joinpath(path or page).exists()]
    headings = [(path or page, anchor) for path, anchor in links if anchor]
    missing = {
        f"{path}#{anchor}"
        for path, anchor in headings
        if anchor not in anchors(root.joinpath(path).read_text())
    }
    assert not missing


def test_pages_that_code_and_configs_name_exist(root):
    named = {
        (path.relative_to(root).as_posix(), page)
        for folder in CODE
        for path in root.joinpath(folder).rglob("*")
        if path.suffix in {".py", ".smk", ".yaml", ".md", ".sh"} and path.is_file()
        for page in NAMED.findall(path.read_text())
    }
    assert len(named) > 30
    assert not {(path, page) for path, page in named if not root.joinpath(page).is_file()}
