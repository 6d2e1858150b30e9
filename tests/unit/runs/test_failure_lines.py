"""A failed job is one line on the terminal, and whole in Snakemake's log file."""

import io
import logging
from pathlib import Path

import pytest

from plm_scaling.runs.terminal import say_failures_in_a_line

LOG = "2026-11-22 11:02:01,123 ERROR error: a.fa is empty; give another\n"


@pytest.fixture
def logger(tmp_path: Path) -> logging.Logger:
    """A logger as Snakemake's, with a terminal and a log file."""
    (tmp_path / "clean.log").write_text(LOG)
    logger = logging.Logger("snakemake")
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    logger.addHandler(logging.FileHandler(tmp_path / "snakemake.log"))
    yield logger
    logger.handlers[1].close()


def said(logger: logging.Logger, folder: Path, log: str, printed: bool) -> str:
    say_failures_in_a_line(logger, folder, lambda: printed)
    logger.error("RuleException:\nCalledProcessError in file x, line 5:\nCommand 'python'")
    facts = {"event": "job_error", "rule_name": "clean", "rule_msg": None, "output": ["c.tsv"]}
    logger.error("Error in rule clean", extra=facts | {"log": [log]})
    logger.error("Exiting because a job execution failed. Look above for error messages")
    logger.error("WorkflowError:\nAt least one job did not complete successfully.")
    text = (folder / "snakemake.log").read_text()
    for whole in ("RuleException", "Error in rule clean", "At least one job"):
        assert whole in text
    stream = logger.handlers[0].stream
    *lines, last = stream.getvalue().splitlines()
    assert last.startswith("Exiting")
    (line,) = lines
    return line


def test_failure_says_its_reason_where_programs_print_elsewhere(logger, tmp_path):
    line = said(logger, tmp_path, "clean.log", printed=False)
    assert line == "error: clean (c.tsv): error: a.fa is empty; give another; clean.log"


def test_failure_does_not_say_again_what_its_program_has_printed(logger, tmp_path):
    assert said(logger, tmp_path, "clean.log", printed=True) == "clean (c.tsv) failed; clean.log"


def test_failure_without_a_reason_of_its_own_is_said_all_the_same(logger, tmp_path):
    line = said(logger, tmp_path, "none.log", printed=True)
    assert line == "error: clean (c.tsv): no message in its log"
