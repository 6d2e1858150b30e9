"""TM-scores by Foldseek (van Kempen et al. 2024), where it is installed; it does not come with this
project."""

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gemmi import ResidueKind, expand_one_letter

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins

FIELDS = "query,target,qtmscore"  # the last in terms of the query's length
# All pairs by TM-align, as with tmtools: what a faster search does not find has no score.
ALL_PAIRS = ("--alignment-type", "1", "--exhaustive-search", "1", "--tmscore-threshold", "0")
_ATOM = "ATOM  {:5d}  CA  {} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"


def foldseek_scores(
    program: str, proteins: Proteins, places: list[Doubles], known: Path, threads: int
) -> Doubles:
    """Of each protein, with the places [residues, 3] of its Cα atoms in Å, the best TM-score to a
    chain of the structures in the folder `known` by Foldseek (`program`), in terms of the protein's
    length; NaN where it lists none. Raises `DownstreamError` if it fails."""
    with TemporaryDirectory(prefix="plm-scaling-") as folder:
        queries, out = Path(folder, "queries"), Path(folder, "found.tsv")
        queries.mkdir()
        for number, (sequence, own) in enumerate(zip(proteins.sequences, places, strict=True)):
            (queries / f"{number:06d}.pdb").write_text(pdb_text(sequence.decode(), own))
        command = [program, "easy-search", queries, known, out, Path(folder, "work"), *ALL_PAIRS]
        command += ["--format-output", FIELDS, "--max-seqs", "1000000", "--threads", threads]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it says nothing"]
            raise DownstreamError(
                f"{known}: Foldseek failed ({said[0]}); correct the folder, or take "
                "foldseek off PATH: TM-align (tmtools) is used then"
            )
        return best_scores(out, proteins.count())


def best_scores(table: Path, count: int) -> Doubles:
    """The best score of each of `count` queries in a table of `FIELDS`, whose names begin with
    their numbers (Foldseek adds the chain, or the ending, by version); NaN where there is none."""
    best = np.full(count, np.nan)
    for number, line in enumerate(table.read_text().splitlines(), start=1):
        fields = line.split("\t")
        query = re.match(r"\d+", fields[0])
        try:
            place, score = int(query[0] if query else ""), float(fields[2])
            best[place] = np.fmax(best[place], score)
        except (ValueError, IndexError):
            raise DownstreamError(
                f"{table.name}, line {number}: {line!r} is not {FIELDS} as Foldseek writes them "
                f"of {count} proteins; take foldseek off PATH"
            ) from None
    return best


def pdb_text(sequence: str, places: Doubles) -> str:
    """A structure of Cα atoms alone, as PDB."""
    lines = [
        _ATOM.format(number, expand_one_letter(letter, ResidueKind.AA) or "UNK", number, *place)
        for number, (letter, place) in enumerate(zip(sequence, places, strict=True), start=1)
    ]
    return "".join(lines) + "TER\nEND\n"
