"""Threads, memory and temporary space of a stage that runs MMseqs2."""

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common import slurm_job
from plm_scaling.common.errors import DedupError
from plm_scaling.common.progress import short_bytes

logger = logging.getLogger("plm_scaling")

MIB = 1 << 20
# What MMseqs2 holds per sequence whatever its split limit says: index entry (24 bytes), its order
# and key tables of query and target (about 48 bytes in all are reported for 0.5 G entries).
INDEX_BYTES = 64
PROGRAM_MIB = 256
SPARE_FACTOR = 1.5
WORTH_SAYING = 1e9  # bytes of temporary files


@dataclass(frozen=True)
class Resources:
    """What a stage may use."""

    threads: int
    """CPU threads"""
    memory_mb: int
    """memory it may use, in MiB; in a Slurm job no more than the job has"""
    scratch: Path | None = None
    """disk of the node for temporary files, used if it exists and has room"""

    def split_memory_mib(self, n_sequences: int, least_mib: int) -> int:
        """MMseqs2's --split-memory-limit, in MiB.

        The limit counts only the table of k-mers, which needs `least_mib` however often it is
        split; the index of all sequences and the program come on top. The sequences themselves are
        mapped: the system takes their pages back at need. Raises `DedupError` if the memory does
        not hold these.
        """
        # A site's limit changes what Snakemake asks for, but not what it tells the job.
        memory = int(min(self.memory_mb, slurm_job.memory_mib()))
        fixed = PROGRAM_MIB + n_sequences * INDEX_BYTES // MIB
        left = memory - fixed
        if left < least_mib:
            raise DedupError(
                f"{memory} MB of memory are too little for {n_sequences:,} sequences: "
                f"MMseqs2 needs {fixed} MB for its index and at least {least_mib} MB for k-mers; "
                f"give at least {fixed + least_mib} MB (mem_mb of the job; in the workflow "
                f"--set-resources RULE:mem_mb={fixed + least_mib})"
            )
        return left

    def scratch_of(self, out: Path) -> Path | None:
        """The folder on the scratch disk for temporaries of the stage that makes `out`."""
        if self.scratch is None:
            return None
        name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
        return self.scratch / f"plm-scaling-{name}"

    def place(self, stage: str, beside: Path, on_scratch: Path | None, needed_bytes: float) -> Path:
        """Where temporaries of about `needed_bytes` go: to scratch if they fit, or to `beside`."""
        folder, why = beside, "no scratch disk is given"
        if self.scratch is not None and on_scratch is not None:
            if not self.scratch.is_dir():
                why = f"scratch {self.scratch} does not exist"
            elif on_scratch.is_dir() or _free(self.scratch) > SPARE_FACTOR * needed_bytes:
                folder, why = on_scratch, f"{short_bytes(_free(self.scratch))} are free there"
            else:
                why = f"only {short_bytes(_free(self.scratch))} are free on {self.scratch}"
        size = short_bytes(needed_bytes)
        level = logging.INFO if self.scratch or needed_bytes > WORTH_SAYING else logging.DEBUG
        said = f"[{stage}] temporary files of MMseqs2 (about {size}) go to {folder}: {why}"
        logger.log(level, said)
        return folder

    def free_space(self, folder: Path) -> str:
        """How much is free where the stage writes, for a message."""
        disks = [folder, *([self.scratch] if self.scratch and self.scratch.is_dir() else [])]
        return ", ".join(
            f"{short_bytes(_free(disk))} are free on the disk of {disk}" for disk in disks
        )


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
