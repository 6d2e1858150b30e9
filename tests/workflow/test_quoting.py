"""No word of the config and no file name is read as a command, whatever characters it has."""

import re
from urllib.parse import quote

import pytest
from source_tables import local_row, write_table
from workflows import Workflow, checkout, take, tiny_config

from plm_scaling.mmseqs.tool import find_mmseqs

NASTY = "a b'c\"$(touch pwned);d`touch pwned`&e"
# Numbers, and words from a closed list: schema or wildcard patterns let nothing else through.
PLAIN = {
    *(
        "START_TOKEN",
        "threads",
        "resources.mem_mb",
        "wildcards.law",
        "wildcards.objective",
        "wildcards.part",
    ),
    *("params.axes", "params.bootstrap", "params.context_length", "params.final_evaluations"),
    *("params.held_out_above", "params.huber_delta", "params.level"),
    *("params.max_rejected_fraction", "params.order", "params.parts"),
    *("params.seed", "params.shard_rows", "params.start", "params.start[checkpoint_seconds]"),
    *("params.start[launcher]", "params.start[processes]", "params.valid_fraction"),
}


def test_commands_of_all_rules_quote_what_may_hold_any_character(root):
    words = []
    for path in sorted((root / "rules").glob("*.smk")):
        for command in re.findall(r"^    shell:\n((?:        .*\n)+)", path.read_text(), re.M):
            words += re.findall(r"\{([^{}]+)\}", command)
    assert len(words) > 150
    assert {word for word in words if not word.endswith(":q")} <= PLAIN


@pytest.fixture
def nasty(root, tmp_path):
    """The repository, the working folder, temporary files and a logs folder under such a name."""
    here = tmp_path / NASTY
    workflow = Workflow(checkout(root, here / "repository"), here / "work", {})
    workflow.folder.mkdir()
    workflow.config = tiny_config(root, "resources/sources.tsv")
    yield workflow
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("pwned")]


@pytest.mark.slow
def test_data_path_works_under_names_of_any_characters(
    root, nasty, tmp_path, monkeypatch, quick_searches
):
    """Repository, working and temporary folders, source files, table and MMseqs2."""
    here = nasty.folder.parent
    rows = []
    for name in ("uniref_demo", "metagenome_demo"):
        path = here / f"line\nbreak {name}.fasta.gz"
        take(root / f"resources/demo/{name}.fasta.gz", 100, path)
        rows.append(local_row(name, path) | {"url": f"file:{quote(str(path))}"})
    table = write_table(here / "my $(touch pwned) 'table'.tsv", *rows)
    mmseqs = here / "mm 'seqs'; touch pwned"
    mmseqs.symlink_to(find_mmseqs("auto").path)
    (here / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(here / "tmp"))
    nasty.config["data"] |= {"sources": str(table), "parts": 1}
    nasty.config["mmseqs"]["path"] = str(mmseqs)
    nasty.config["split"]["clustering"] = "linclust"
    nasty.run(f"data/{nasty.config['data']['name']}/tokens/manifest.json")
    assert (nasty.data / "tokens/manifest.json").stat().st_size > 100


def test_folder_of_published_logs_may_have_any_name(nasty):
    """The error names the folder as it is in the config."""
    logs = nasty.folder.parent / "logs $(touch pwned);'x"
    nasty.config["published"]["logs"] = str(logs)
    done = nasty.run("results/published/runs.csv", check=False)
    assert f"error: {logs}: has no data/training_logs" in done.stdout + done.stderr
