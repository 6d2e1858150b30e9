"""Time, memory and disk of the path from FASTA to token shards, from docs/scale.md's measurements.

All constants are fitted to its table "Measured: the whole path" (20,000 to 2,000,000 generated
sequences, 6 to 634 million residues) and its sections on memory and on the search.
"""

from dataclasses import dataclass

MEASURED_RESIDUES = 634e6  # beyond, it is extrapolated
SEARCHES = 3  # the purge of held-out sequences, of near-duplicates, and the check


@dataclass(frozen=True)
class Cost:
    """CPU time in seconds, wall time in seconds on `cores`, bytes of memory and of disk."""

    cpu_seconds: float
    wall_seconds: float
    cores: int
    memory_bytes: float
    disk_bytes: float
    extrapolated: bool


def cost(sequences: int, residues: int, valid_fraction: float, cores: int) -> Cost:
    """What the path takes if no sequence is redundant, which is the most."""
    millions = residues / 1e6
    others = 9 + 0.09 * millions  # clean, pool, reference model, score, select, tokenise
    clusterings = 2 + 0.8 * millions  # deduplicate, split
    held_out = valid_fraction * millions
    search = 4.8 + 0.63 * millions + 24 * held_out + 0.65 * millions * held_out
    mmseqs = clusterings + SEARCHES * search
    searched = 0.7e9 + 7 * residues + 50 * sequences * cores
    return Cost(
        cpu_seconds=others + mmseqs,
        wall_seconds=others + mmseqs / cores,
        cores=cores,
        memory_bytes=max(0.26e9 + 373 * sequences, searched),
        disk_bytes=3.7 * residues,  # results 2.8, MMseqs2's temporary files 0.9
        extrapolated=residues > MEASURED_RESIDUES,
    )
