"""The whole pipeline, run once for all tests that only look at it."""

import pytest
from workflows import SEQUENCES, Workflow, take, tiny_config, write_sources


@pytest.fixture(scope="session")
def tiny_sources(root, tmp_path_factory):
    """Source table with a few hundred real sequences per source."""
    folder = tmp_path_factory.mktemp("sources")
    files = {}
    for name in ("uniref_demo", "metagenome_demo"):
        files[name] = folder / f"{name}.fasta.gz"
        take(root / f"resources/demo/{name}.fasta.gz", SEQUENCES, files[name])
    return write_sources(folder, files)


@pytest.fixture(scope="session")
def finished(root, tiny_sources, tmp_path_factory):
    """The whole pipeline, run once. Tests that change it must copy it."""
    workflow = Workflow(root, tmp_path_factory.mktemp("tiny"), tiny_config(root, tiny_sources))
    workflow.output = workflow.run("--printshellcmds")
    return workflow


@pytest.fixture
def fresh(root, tiny_sources, tmp_path):
    """An empty working folder with the tiny config."""
    return Workflow(root, tmp_path, tiny_config(root, tiny_sources))
