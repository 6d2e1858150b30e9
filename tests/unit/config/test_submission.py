"""Names that reach the shell of a login node."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.submission import check_submission


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(bool))
def test_accepted_text_reaches_a_job_unchanged(word):
    """Quoted by Snakemake, then put between double quotes as the Slurm plugin does."""
    try:
        check_submission([word])
    except ConfigError:
        return
    inner = "printf %s " + "'" + word.replace("'", "'\"'\"'") + "'"
    outer = 'sh -c "' + inner.replace('"', '\\"') + '"'
    assert subprocess.run(outer, shell=True, capture_output=True, text=True).stdout == word


@pytest.mark.parametrize("word", ["a$(b)", "a`b`", "a\\b"])
def test_text_that_a_shell_would_interpret_is_refused_naming_the_key(word):
    with pytest.raises(ConfigError, match="a shell would read on submission"):
        check_submission([Path("/fine"), "study=fine", word])
