"""The words of a page that docs/glossary.md explains: on hover, and at the end of the page."""

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

GLOSSARY = Path(__file__).with_name("glossary.md")  # a link to docs/glossary.md
OF_THE_TERMINAL = "\n## Running\n"  # the last section: its words mean something else on a page
_ENTRY = re.compile(r"^- \*\*(.+?)\*\*(.*?)(?=^- |^## |\Z)", re.MULTILINE | re.DOTALL)
_POINTER = re.compile(r"\s*\(\[[^]]*\]\([^)]*\)\)")  # to a page of the documentation
_LABEL = re.compile(r'(<(?:th|h3|strong|button)\b[^>]*>|<span class="status">)([^<]+)')
_HIDDEN = re.compile(r"<(svg|style|script)\b.*?</\1>|<[^>]*>", re.DOTALL)


def glossary(page: str) -> list[tuple[str, str]]:
    """(term, meaning) of the glossary's entries of which `page` (HTML) has a word, by alphabet."""
    text = _HIDDEN.sub(" ", re.sub("<sub>", "_", page))
    return [
        (term, meaning)
        for term, meaning in _entries()
        if any(re.search(rf"\b{re.escape(w)}s?\b", text, _case(w)) for w in _words(term))
    ]


def abbreviated(page: str) -> Markup:
    """`page` (HTML) with the glossary's definitions on hover: of words in headings of tables and
    cards and in what is emphasised, and of what a status is."""
    meanings = {w: meaning for term, meaning in _entries() for w in _words(term)}
    known = sorted(meanings, key=len, reverse=True)
    any_word = "|".join(f"(?{'i' if _case(w) else ''}:{re.escape(w)})" for w in known)
    by_lower = {w.lower(): w for w in known}

    of_status = next(meaning for term, meaning in _entries() if term.startswith("Status"))

    def defined(found: re.Match[str]) -> str:
        return _hover(found[0], meanings[by_lower[found[1].lower()]])

    words = re.compile(rf"\b({any_word})s?\b")

    def label(found: re.Match[str]) -> str:
        start, text = found.groups()
        whole = "status" in start
        return start + (_hover(text, of_status) if whole else words.sub(defined, text))

    return Markup(_LABEL.sub(label, page))


def _hover(word: str, meaning: str) -> str:
    return f'<abbr title="{escape(meaning)}">{word}</abbr>'


@cache
def _entries() -> list[tuple[str, str]]:
    text = GLOSSARY.read_text(encoding="utf-8").partition(OF_THE_TERMINAL)[0]
    found = [(_plain(term), _plain(meaning).lstrip(": ")) for term, meaning in _ENTRY.findall(text)]
    return sorted(found, key=lambda entry: entry[0].casefold())


def _plain(markdown: str) -> str:
    """One line without marks."""
    text = _POINTER.sub("", markdown).replace("\\*", "*").replace("**", "").replace("`", "")
    return " ".join(text.split())


def _words(term: str) -> list[str]:
    """The words that a text may have of 'Masking, mask ratio' or of 'Layout (TP, PP, DP)'."""
    words = [word.strip() for word in re.sub(r"\(.*?\)", "", term).split(",")]
    return [re.sub("s$", "", word) for word in words if len(word) > 2]


def _case(word: str) -> re.RegexFlag:
    """Capitals are found as they are written, other words in lower case, too."""
    return re.NOFLAG if word.isupper() else re.IGNORECASE
