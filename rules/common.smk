"""Shared by all rules: the validated config, the environment of the programs, names of files."""

import json

from plm_scaling.config.load import validate_config
from plm_scaling.errors import PlmScalingError
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.flops import training_memory_bytes

# Programs are run by the Python that runs Snakemake, or by a conda environment's under --sdm conda;
# both find the library in this repository.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ["PYTHONPATH"] = str(ROOT / "src")

try:
    CONFIG = validate_config(config, "config")
    CELLS = plan_cells(CONFIG)
except PlmScalingError as error:
    sys.exit(f"error: {error}")

CORPUS = CONFIG.corpus.name
SOURCES = list(CONFIG.corpus.mixture)
DATA = f"data/{CORPUS}"
RESULTS = f"results/{CONFIG.study}"


wildcard_constraints:
    source="[A-Za-z0-9][A-Za-z0-9_.-]*",
    cell="[0-9a-f]{10}",
    objective="clm|mlm",
    law="[a-z_]+",
    results="results/[^/]+(/so-far)?",


def script(name):
    """Path of a program in scripts/, right under --directory too."""
    return ROOT / "scripts" / f"{name}.py"


def source_table():
    """Path of the source table; relative paths are the repository's."""
    return ROOT / CONFIG.corpus.sources


def memory_mb(cell):
    """Memory of a training job: the estimate, half again, and what the libraries take."""
    return int(
        1000
        + 1.5e-6
        * training_memory_bytes(cell.shape, cell.batch_rows, cell.context_length)
    )
