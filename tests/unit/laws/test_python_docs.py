"""The examples of docs/python.md run and print what the page shows."""

import doctest
import re

import pytest

from plm_scaling import laws, planner

NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
WITHIN = 0.1  # relative: ends of intervals may move with what is resampled


class Near(doctest.OutputChecker):
    """Words to the letter, whatever the blanks; numbers nearly."""

    def check_output(self, want, got, flags):
        words = [re.sub(r"\s+", " ", NUMBER.sub("#", text)) for text in (want, got)]
        flags |= doctest.ELLIPSIS
        if not super().check_output(*words, flags):
            return False
        numbers = [[float(x) for x in NUMBER.findall(text)] for text in (want, got)]
        return len(numbers[0]) == len(numbers[1]) and numbers[1] == pytest.approx(
            numbers[0], rel=WITHIN
        )


def test_examples_of_the_page_print_what_it_shows(root, tmp_path, monkeypatch):
    blocks = re.findall("```pycon\n(.*?)```", (root / "docs/python.md").read_text(), re.DOTALL)
    assert len(blocks) > 5
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "python.md", None, 0)
    said = []
    doctest.DocTestRunner(Near(), verbose=False).run(test, out=said.append)
    assert not said, "".join(said)
    assert (tmp_path / "law.png").is_file()


def test_the_reference_has_every_public_name(root):
    page = root.joinpath("docs/api.rst").read_text()
    missing = {*laws.__all__, *planner.__all__} - {"STAGE_VERSION", "law_module"}
    assert missing
    assert not {name for name in missing if not re.search(rf":: {name}$", page, re.MULTILINE)}
