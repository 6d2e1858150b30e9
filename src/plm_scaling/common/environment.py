"""The environment of the programs that the workflow starts."""

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

# What torchrun, srun and mpirun tell the processes that they start. It is of an outer job where
# Snakemake itself runs inside one, and a cell would take itself for one process of many.
OF_AN_OUTER_JOB = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?RANK|((LOCAL_|GROUP_|ROLE_)?WORLD_SIZE)|MASTER_(ADDR|PORT)"
    r"|(TORCHELASTIC|PET|OMPI_COMM_WORLD|PMI)_.*|PMIX_(RANK|NAMESPACE)|MPI_LOCAL(RANKID|NRANKS)"
    r"|SLURM_(STEP_.*|PROCID|LOCALID|NODEID)"
)


def prepare(environ: MutableMapping[str, str], python: Path, library: Path) -> None:
    """Let programs find this Python and this library first, and nothing of an outer job.

    What was in PATH and PYTHONPATH stays behind: environment modules put their paths there.
    """
    for name, own in (("PATH", str(python.parent)), ("PYTHONPATH", str(library))):
        before = environ.get(name, os.defpath if name == "PATH" else "").split(os.pathsep)
        environ[name] = os.pathsep.join([own, *(path for path in before if path not in ("", own))])
    for name in list(environ):
        if OF_AN_OUTER_JOB.fullmatch(name):
            del environ[name]
