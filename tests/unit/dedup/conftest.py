"""Searches that take little time."""

from collections.abc import Iterator

import pytest

from plm_scaling.mmseqs.steps import Steps


@pytest.fixture(scope="module")
def quick_searches() -> Iterator[None]:
    """MMseqs2 searches for k-mers of 13 kinds of residues, as `linclust` does: of 21, its table of
    similar 3-mers takes two seconds, however few the sequences."""
    mmseqs = Steps.mmseqs

    def run(self: Steps, command: str, *arguments: object) -> None:
        mmseqs(self, command, *arguments, *(("--alph-size", 13) if command == "search" else ()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "mmseqs", run)
        yield
