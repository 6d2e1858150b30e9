"""Files of this machine as sources, and raw files put into their place by hand."""

import itertools
import os
from pathlib import Path

import pytest
from faulty_server import serving
from source_tables import local_row, write_table
from workflows import take

CLEANED = "data/tiny/clean/uniref_demo/counts.tsv"
RAW = "data/raw/uniref_demo.fasta.gz"
AGAIN = {"clean_source": 1}
POOLED = "data/tiny/pool/protein/part-0000/part.json"
PINNED = {"verify_files": 1}


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
    """Others of the demo's records, in a file that is newer than all that was made of the first."""
    take(root / "resources/demo/uniref_demo.fasta.gz", 40, mine, skip=40)


def error_of(fresh, *targets):
    """The one line that says why a run failed."""
    done = fresh.run(*targets, check=False)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    return next(line for line in output.splitlines() if line.startswith("error: "))


def ids(fresh):
    part = fresh.data / "clean/uniref_demo/part-0000.fasta"
    return {line for line in part.read_text().splitlines() if line.startswith(">")}


def test_edited_or_replaced_file_is_cleaned_again_and_never_copied(root, fresh, mine):
    use(fresh, mine, bytes="", checksum="")
    older = fresh.folder / "older.fasta.gz"
    take(root / "resources/demo/uniref_demo.fasta.gz", 40, older, skip=80)
    os.utime(older, (10**9, 10**9))
    fresh.run(CLEANED)
    assert fresh.planned(CLEANED) == {}
    seen = [ids(fresh)]
    edit(root, mine)
    assert fresh.planned(CLEANED) == AGAIN
    fresh.run(CLEANED)
    seen.append(ids(fresh))
    assert fresh.planned(CLEANED) == {}
    older.rename(mine)
    assert fresh.planned(CLEANED) == AGAIN
    fresh.run(CLEANED)
    seen.append(ids(fresh))
    assert all(one.isdisjoint(other) for one, other in itertools.pairwise(seen))
    assert not (fresh.folder / "data/raw").exists()


def test_edited_file_with_a_stated_checksum_is_refused_and_a_touched_one_is_the_same(
    root, fresh, mine
):
    use(fresh, mine, bytes="")
    fresh.run(CLEANED)
    before = ids(fresh)
    os.utime(mine, (10**9, 10**9))
    assert fresh.planned(CLEANED) == PINNED
    fresh.run(CLEANED)
    assert fresh.planned(CLEANED) == {}
    mine.touch()
    assert fresh.planned(CLEANED) == PINNED
    fresh.run(POOLED)  # in one run, which goes on after the comparison
    assert (fresh.folder / POOLED).exists()
    mine.touch()
    edit(root, mine)
    error = error_of(fresh, CLEANED)
    assert all(word in error for word in ("uniref_demo", str(mine.name), "sha256:", "stated"))
    assert ids(fresh) == before
    use(fresh, mine, bytes="")
    assert fresh.planned(CLEANED) == PINNED | AGAIN


def test_missing_file_is_named_in_one_line_before_anything_runs(fresh, mine):
    use(fresh, mine, bytes="", checksum="")
    mine.unlink()
    error = error_of(fresh, "--dry-run", CLEANED)
    assert error.startswith(f"error: source uniref_demo (a test): {mine} does not exist")


def test_config_names_files_beside_the_table_that_ships(root, fresh, mine):
    """A folder of two files, under a name that a shell might read as its own."""
    folder = fresh.folder / "my set $(x)"
    folder.mkdir()
    take(root / "resources/demo/uniref_demo.fasta.gz", 40, folder / "b.faa.gz", skip=40)
    mine.rename(folder / "a.faa.gz")
    (folder / "README.txt").write_text("no FASTA\n")
    fresh.config["data"]["sources"] = {"uniref_demo": {"path": Path(folder).name}}
    fresh.run(CLEANED)
    assert len(ids(fresh)) > 40
    assert fresh.planned(CLEANED) == {}
    (folder / "b.faa.gz").unlink()
    assert fresh.planned(CLEANED) == AGAIN
    cleaned = CLEANED.replace("uniref", "metagenome")  # of the table
    assert fresh.planned(cleaned) == PINNED | AGAIN
    fresh.run("download")
    records = [path.name for path in sorted((fresh.data / "clean").glob("*.verified.json"))]
    assert [name.split(".")[0] for name in records] == ["metagenome_demo", "uniref_demo"]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"uniref_demo": {"path": "gone.faa"}}, ["source uniref_demo", "gone.faa does not exist"]),
        ({"uniref_demo": {"pth": "a.faa"}}, ["data.sources.uniref_demo", "'pth'", "'path'"]),
        ({"uniref_demo": {"format": "fasta"}}, ["data.sources.uniref_demo", "path is missing"]),
    ],
    ids=["missing", "unknown column", "no path"],
)
def test_wrong_source_of_the_config_is_named_before_anything_runs(fresh, sources, words):
    fresh.config["data"]["sources"] = sources
    error = error_of(fresh, "--dry-run", CLEANED)
    assert all(word in error for word in words)


@pytest.fixture
def served(fresh, mine):
    """The file as that of the first source, on a server; its raw file, which does not exist yet."""
    with serving() as server:
        server.page("/x.gz", mine.read_bytes())
        row = local_row("uniref_demo", mine, url=server.url("/x.gz"))
        rows = [row, local_row("metagenome_demo", mine)]
        table = write_table(fresh.folder / "resources/sources.tsv", *rows)
        fresh.config["data"]["sources"] = str(table)
        raw = fresh.folder / RAW
        raw.parent.mkdir(parents=True)
        yield raw


@pytest.mark.parametrize("target", ["download", CLEANED])
def test_wrong_manually_placed_file_is_moved_aside_and_fetched(fresh, mine, served, target):
    right, wrong = mine.read_bytes(), mine.read_bytes()[:-8] + bytes(8)
    served.write_bytes(wrong)
    os.utime(served, (0, 0))
    done = fresh.run(target)
    (line,) = {one for one in (done.stdout + done.stderr).splitlines() if "fetching" in one}
    assert all(word in line for word in (RAW, "expected sha256", ".wrong"))
    assert served.read_bytes() == right
    assert served.with_name(f".{served.name}.wrong").read_bytes() == wrong
    assert fresh.planned(target) == {}
    assert fresh.planned(RAW) == {}


@pytest.mark.parametrize("target", ["download", CLEANED])
def test_right_manually_placed_file_is_taken(fresh, mine, served, target):
    served.write_bytes(mine.read_bytes())
    os.utime(served, (0, 0))
    fresh.run(target)
    assert served.stat().st_mtime == 0
    assert fresh.planned(target) == {}
    assert fresh.planned(RAW) == {}
