"""Shared by all rules: the validated config, the environment of the programs, names of files."""

import json

from snakemake.logging import logger
from plm_scaling.config.load import validate_config
from plm_scaling.errors import PlmScalingError
from plm_scaling.sources.table import find_source
from plm_scaling.sweep.cells import plan_cells
from plm_scaling.sweep.flops import training_memory_bytes

# Programs are run by the Python that runs Snakemake, or by a conda environment's under --sdm conda;
# both find the library in this repository.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    PYTHONPATH=str(ROOT / "src"),
)

# The scheduler says these before every job; what a job does, its program says.
logger.addFilter(lambda record: not str(record.msg).startswith(("Select jobs to", "Execute ")))

try:
    CONFIG = validate_config(config, "config")
    CELLS = plan_cells(CONFIG)
    SOURCE_TABLE = ROOT / CONFIG.corpus.sources
    SOURCES = list(CONFIG.corpus.mixture)
    SOURCE_FACTS = {}  # a new version, address or checksum fetches a source again
    for name in SOURCES:
        found = find_source(SOURCE_TABLE, name)
        SOURCE_FACTS[name] = f"{found.version} {found.url} {found.sha256}"
except PlmScalingError as error:
    sys.exit(f"error: {error}")

CORPUS = CONFIG.corpus.name
DATA = f"data/{CORPUS}"
RESULTS = f"results/{CONFIG.study}"


wildcard_constraints:
    source="[A-Za-z0-9][A-Za-z0-9_.-]*",
    cell="[0-9a-f]{10}",
    objective="clm|mlm|both",
    law="[a-z_]+",
    results="results/[^/]+(/so-far)?",


def script(name):
    """Path of a program in scripts/, right under --directory too."""
    return ROOT / "scripts" / f"{name}.py"


def memory_mb(cell):
    """Memory of a training job: the estimate, half again, and what the libraries take."""
    return int(
        1000 + 1.5e-6 * training_memory_bytes(cell.shape, cell.batch_rows, cell.context_length)
    )
