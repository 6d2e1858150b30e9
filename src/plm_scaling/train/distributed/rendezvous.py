"""Which one of its job a process is, by what started it."""

import os
from dataclasses import dataclass, replace

# What says number, count and number on the host. What is started inside another comes first: mpirun
# may use srun, and srun sets the variables of PMI too.
LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    "MPICH": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
    # SLURM_STEP_NUM_TASKS is set only by srun, unlike SLURM_PROCID, which every batch script has.
    "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
}


@dataclass(frozen=True)
class Rendezvous:
    """Where a process is among those of its job.

    `address` and `port` are where they meet, None for a single process, and where nothing but a
    note says so.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    address: str | None = None
    port: int | None = None
    job: str = ""
    """Slurm's number, if srun started the process: mpirun may tell it to some of them only."""

    @classmethod
    def of_environment(cls) -> "Rendezvous":
        """From the variables that launchers set; without them a single process."""
        env = os.environ
        for launcher, (rank, world_size, local_rank) in LAUNCHERS.items():
            if rank not in env or world_size not in env:
                continue
            local = env.get(local_rank, env.get("SLURM_LOCALID", 0))
            place = cls(int(env[rank]), int(env[world_size]), int(local))
            if launcher == "torchrun":
                address = env.get("MASTER_ADDR", "127.0.0.1")
                return replace(place, address=address, port=int(env.get("MASTER_PORT", 29500)))
            return replace(place, job=env.get("SLURM_JOB_ID", "") if launcher == "srun" else "")
        return cls()
