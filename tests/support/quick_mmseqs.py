"""An MMseqs2 whose searches take a tenth of a second."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plm_scaling.mmseqs.tool import find_mmseqs

PROGRAM = """#!/bin/sh
case $1 in search|cluster) set -- "$@" --alph-size 13 ;; esac
exec {mmseqs} "$@"
"""


@contextmanager
def quick_mmseqs(environment: Path) -> Iterator[None]:
    """MMseqs2 searches for k-mers of 13 kinds of residues, as `linclust` does: with 21, its table
    of similar 3-mers takes two seconds, however few the sequences. `auto` finds it first."""
    program = environment / "bin" / "mmseqs"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(mmseqs=shlex.quote(str(find_mmseqs("auto").path))))
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDA_PREFIX", str(environment))
        yield


@pytest.fixture(scope="module")
def quick_searches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`quick_mmseqs` for all tests of a module."""
    with quick_mmseqs(tmp_path_factory.mktemp("environment")):
        yield
