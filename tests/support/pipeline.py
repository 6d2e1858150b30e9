"""The whole pipeline, run once for all tests that only look at it."""

import fcntl
import os
from contextlib import contextmanager

import pytest
from quick_mmseqs import quick_mmseqs
from workflows import SEQUENCES, Workflow, take, tiny_config, write_sources


@contextmanager
def made_once(tmp_path_factory, name):
    """A folder that the processes of pytest share, and whether it is still to be made."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder / ".made"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def tiny_sources(root, tmp_path_factory):
    """Source table with a few hundred real sequences per source."""
    with made_once(tmp_path_factory, "sources") as (folder, to_do):
        files = {}
        for name in ("uniref_demo", "metagenome_demo"):
            files[name] = folder / f"{name}.fasta.gz"
            if to_do:
                take(root / f"resources/demo/{name}.fasta.gz", SEQUENCES, files[name])
        return write_sources(folder, files) if to_do else folder / "resources/sources.tsv"


@pytest.fixture(scope="session")
def finished(root, tiny_sources, tmp_path_factory):
    """The whole pipeline, run once. Tests that change it must copy it."""
    with made_once(tmp_path_factory, "tiny") as (folder, to_do):
        workflow = Workflow(root, folder, tiny_config(root, tiny_sources))
        text = folder / "output.txt"
        if to_do:
            with quick_mmseqs(tmp_path_factory.mktemp("environment")):
                done = workflow.run("--printshellcmds")
            text.write_text(done.stdout + done.stderr)
    workflow.output = text.read_text()
    return workflow
