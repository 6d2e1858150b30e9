"""What an alignment of homologues says of each position by itself: the site-independent model.

The score of a mutant is the sum over its changes of ln f(mutant) − ln f(wild type), f the share of
the amino acid in the alignment's column. A homologue weighs 1 / the number of those at least 80 %
identical with it, and half an observation of a uniform column is added (Hopf et al. 2017).
"""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.fitness.mutants import Change
from plm_scaling.tokens.format.vocabulary import STANDARD

IDENTITY = 0.8
PSEUDOCOUNT = 0.5
BLOCK = 256  # sequences whose identities to all are held at a time
_GAP = len(STANDARD)


def site_independent(path: Path, wild_type: str, mutants: list[list[Change]]) -> list[float | None]:
    """Scores of mutants by an alignment (A2M, may be gzipped); None for one with a change at a
    position that has no column.

    Raises `DownstreamError` if the first sequence is no piece of the wild type.
    """
    columns, positions = read_a2m(path, wild_type)
    logs = dict(zip(positions, np.log(column_frequencies(columns)), strict=True))
    place = {letter: index for index, letter in enumerate(STANDARD)}

    def score(own: list[Change]) -> float | None:
        if any(position not in logs for _, position, _ in own):
            return None
        return float(sum(logs[at][place[new]] - logs[at][place[old]] for old, at, new in own))

    return [score(own) for own in mutants]


def read_a2m(path: Path, wild_type: str) -> tuple[NDArray[np.uint8], list[int]]:
    """Residues [sequences, columns] as places in `STANDARD`, 20 for gaps and other letters, and the
    columns' positions in the wild type, from 1. Columns are where the first sequence is in upper
    case."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = ["".join(record.split("\n")[1:]) for record in text.split(">")[1:]]
    focus = rows[0] if rows else ""
    letters = [column for column, letter in enumerate(focus) if letter.isalpha()]
    begin = wild_type.find("".join(focus[column] for column in letters).upper())
    if not letters or begin < 0:
        raise DownstreamError(
            f"{path}: its first sequence is no piece of the wild type; give the alignment of this "
            "protein (A2M)"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) != len(focus):
            raise DownstreamError(
                f"{path}, sequence {number}: {len(row)} columns, the first has {len(focus)}"
            )
    used = {
        column: begin + n for n, column in enumerate(letters, start=1) if focus[column].isupper()
    }
    table = np.full(256, _GAP, np.uint8)
    table[np.frombuffer(STANDARD.encode(), np.uint8)] = np.arange(len(STANDARD))
    characters = np.frombuffer("".join(rows).encode(), np.uint8).reshape(len(rows), len(focus))
    return table[characters[:, [*used]]], [*used.values()]


def column_frequencies(columns: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shares [columns, 20] of the amino acids, of weighted sequences, with the pseudocount."""
    weights = sequence_weights(columns)
    counts = np.stack([weights @ (columns == place) for place in range(len(STANDARD))], axis=1)
    counts += PSEUDOCOUNT
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def sequence_weights(columns: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1 / the number of sequences that agree in at least 80 % of the columns, itself included."""
    hot = (columns[:, :, None] == np.arange(_GAP + 1)).reshape(len(columns), -1).astype(np.float32)
    needed = IDENTITY * columns.shape[1]
    alike = [
        (hot[begin : begin + BLOCK] @ hot.T >= needed).sum(axis=1)
        for begin in range(0, len(hot), BLOCK)
    ]
    return 1 / np.concatenate(alike)
