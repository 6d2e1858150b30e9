"""What the executor notes for `status`."""

import time

from plm_scaling.slurm.journal import FILE, OLD_SECONDS, Journal, lines


def test_lines_name_what_waits_hosts_and_what_was_resumed(tmp_path):
    journal = Journal(tmp_path / FILE)
    due = time.time() + 65
    journal.waiting = [("QOSMaxSubmitJobPerUserLimit", due)] * 370
    journal.died = {"n1": ["train_cell a", "train_cell b"], "n2": ["train_cell c"]}
    journal.excluded = {"n1"}
    journal.resumed = {f"train_cell {i}": (i, "time limit") for i in range(1, 6)}
    journal.write()
    waiting, first, second, resumed = lines(tmp_path)
    assert waiting.startswith("waiting to be submitted: 370 (QOSMaxSubmitJobPerUserLimit); ")
    assert first == (
        "n1: 2 starts died there before the first step (train_cell a, train_cell b); no job is "
        "sent there"
    )
    assert second.endswith("(train_cell c); they avoid it now")
    assert "train_cell 3 3 times (time limit), 2 more" in resumed


def test_what_waited_is_not_said_of_a_snakemake_that_was_killed(tmp_path):
    journal = Journal(tmp_path / FILE)
    journal.waiting = [("Slurm does not answer", time.time())]
    journal.write()
    assert len(lines(tmp_path)) == 1
    assert lines(tmp_path, time.time() + OLD_SECONDS + 1) == []


def test_a_folder_without_slurm_has_no_lines(tmp_path):
    assert lines(tmp_path) == []
