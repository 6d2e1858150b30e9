"""Files of this machine as sources, and raw files put into their place by hand."""

import os

import pytest
from source_tables import local_row, write_table
from workflows import take

CLEANED = "data/tiny/clean/uniref_demo/counts.tsv"
RAW = "data/raw/uniref_demo.fasta.gz"
AGAIN = {"fetch_source": 1, "clean_source": 1}


@pytest.fixture
def mine(root, fresh):
    """The file of the first source; `use` puts it into the table."""
    path = fresh.folder / "mine.fasta.gz"
    take(root / "resources/demo/uniref_demo.fasta.gz", 40, path)
    return path


def use(fresh, mine, **fields):
    rows = [{**local_row(name, mine), **fields} for name in ("uniref_demo", "metagenome_demo")]
    table = write_table(fresh.folder / "resources/sources.tsv", *rows)
    fresh.config["data"]["sources"] = str(table)


def edit(root, mine):
    """Others of the demo's records, in a file that is newer than every copy."""
    take(root / "resources/demo/uniref_demo.fasta.gz", 40, mine, skip=40)


def error_of(fresh, *targets):
    """The one line that says why a run failed."""
    done = fresh.run(*targets, check=False)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    return next(line for line in output.splitlines() if line.startswith("error: "))


def test_edited_file_is_fetched_and_cleaned_again_and_a_touched_one_is_not(root, fresh, mine):
    use(fresh, mine, bytes="", checksum="")
    fresh.run(CLEANED)
    part = fresh.data / "clean/uniref_demo/part-0000.fasta"
    before = part.read_bytes()
    mine.touch()
    assert fresh.planned(CLEANED) == {}
    edit(root, mine)
    assert fresh.planned(CLEANED) == AGAIN
    fresh.run(CLEANED)
    assert part.read_bytes() != before
    assert fresh.planned(CLEANED) == {}
    mine.unlink()  # the copy is there
    assert fresh.planned(CLEANED) == {}


def test_edited_file_with_a_pinned_checksum_is_refused_and_its_copy_kept(root, fresh, mine):
    use(fresh, mine)
    fresh.run(CLEANED)
    copy = (fresh.folder / RAW).read_bytes()
    mine.touch()
    assert fresh.planned(CLEANED) == {}
    edit(root, mine)
    error = error_of(fresh, CLEANED)
    assert all(word in error for word in ("uniref_demo", str(mine), "was changed", "sources.tsv"))
    assert (fresh.folder / RAW).read_bytes() == copy
    use(fresh, mine)
    assert fresh.planned(CLEANED) == AGAIN


def test_missing_file_is_named_in_one_line_before_anything_runs(fresh, mine):
    use(fresh, mine, bytes="", checksum="")
    mine.unlink()
    error = error_of(fresh, "--dry-run", CLEANED)
    assert "source uniref_demo" in error
    assert f"{mine} does not exist" in error


@pytest.mark.parametrize("target", ["download", CLEANED])
def test_wrong_manually_placed_file_is_moved_aside_and_fetched(fresh, mine, target):
    use(fresh, mine)
    right, wrong = mine.read_bytes(), mine.read_bytes()[:-8] + bytes(8)
    raw = fresh.folder / RAW
    raw.parent.mkdir(parents=True)
    raw.write_bytes(wrong)
    os.utime(raw, (0, 0))
    done = fresh.run(target)
    (line,) = {one for one in (done.stdout + done.stderr).splitlines() if "fetching" in one}
    assert all(word in line for word in (RAW, "expected sha256", ".wrong"))
    assert raw.read_bytes() == right
    assert raw.with_name(f".{raw.name}.wrong").read_bytes() == wrong
    assert fresh.planned(target) == {}
    assert fresh.planned(RAW) == {}


@pytest.mark.parametrize("target", ["download", CLEANED])
def test_right_manually_placed_file_is_taken(fresh, mine, target):
    use(fresh, mine)
    raw = fresh.folder / RAW
    raw.parent.mkdir(parents=True)
    raw.write_bytes(mine.read_bytes())
    os.utime(raw, (0, 0))
    fresh.run(target)
    assert raw.stat().st_mtime == 0
    assert fresh.planned(target) == {}
    assert fresh.planned(RAW) == {}
