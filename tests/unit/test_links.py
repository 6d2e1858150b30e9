"""Links of the pages that are no part of the site; `make site` checks those that are."""

import re

import pytest

LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_relative_links_lead_to_files(root, page):
    links = LINK.findall(root.joinpath(page).read_text())
    assert links
    assert not [link for link in links if not root.joinpath(link).exists()]
