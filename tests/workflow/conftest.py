import pytest
from workflows import Workflow, tiny_config


@pytest.fixture
def fresh(root, tiny_sources, tmp_path, quick_searches):
    """An empty working folder with the tiny config."""
    return Workflow(root, tmp_path, tiny_config(root, tiny_sources))
