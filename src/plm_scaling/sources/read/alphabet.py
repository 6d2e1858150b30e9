"""Tell nucleotides from proteins by their letters: genes given for proteins are valid FASTA.

A, C, G, T, U are residues too, or pass for them, and proteins of a few kinds (silk, antifreeze
glycoproteins) are made of little else. None of them has all four bases and hardly another letter.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import SourceError
from plm_scaling.sources.read.records import Records

logger = logging.getLogger("plm_scaling")

BASES = "ACGTU"
UNKNOWN = "NX"  # any base, any residue: they say nothing of either
MIN_SHARE = 0.9  # of the letters that say something: what remains are ambiguity codes
MIN_BASE = 0.02  # of the bases, for each of A, C, G, T or U; 10 % of C in the poorest genomes
MIN_LETTERS = 300  # fewer, a peptide or a primer, leave a doubt
FIRST_RESIDUES = 1 << 16  # of a file, which decide
HELP = "translate them to proteins (EMBOSS transeq, seqkit translate), or give the protein FASTA"


class Composition:
    """Counts of letters, upper and lower case together."""

    def __init__(self) -> None:
        self._pairs = np.zeros((256, 256), np.int64)

    def add(self, text: bytes) -> None:
        # Two letters at a time are counted twice as fast; a NUL fills up the last pair.
        pairs = np.frombuffer(text + b"\0" * (len(text) % 2), np.uint16)
        self._pairs += np.bincount(pairs, minlength=1 << 16).reshape(256, 256)

    @property
    def letters(self) -> dict[str, int]:
        """How often each letter of A to Z occurs, of those that do."""
        counts = (self._pairs.sum(axis=0) + self._pairs.sum(axis=1)).tolist()
        both = {chr(a): counts[a] + counts[a + 32] for a in range(ord("A"), ord("Z") + 1)}
        return {letter: n for letter, n in both.items() if n}

    @property
    def residues(self) -> int:
        return sum(self.letters.values())

    @property
    def nucleotide_share(self) -> float:
        """Share of A, C, G, T, U and N."""
        letters = self.letters
        return sum(letters.get(c, 0) for c in BASES + "N") / max(1, sum(letters.values()))

    @property
    def looks_like_nucleotides(self) -> bool:
        """Whether the letters are those of nucleotides; `is_certain` says whether they suffice."""
        letters = self.letters
        bases = [letters.get(c, 0) for c in "ACG"]
        bases.append(letters.get("T", 0) + letters.get("U", 0))
        return 0 < MIN_SHARE * self._known <= sum(bases) and min(bases) >= MIN_BASE * sum(bases)

    @property
    def is_certain(self) -> bool:
        return self._known >= MIN_LETTERS

    @property
    def _known(self) -> int:
        return sum(n for letter, n in self.letters.items() if letter not in UNKNOWN)


def suspicion(seen: Composition) -> str:
    """What is wrong with the letters `seen` if they are, or may be, nucleotides; else nothing."""
    if not seen.looks_like_nucleotides:
        return ""
    what, then = ("are", "") if seen.is_certain else ("may be", "if so, ")
    return (
        f"these {what} nucleotides, not proteins: {100 * seen.nucleotide_share:.0f} % of "
        f"{seen.residues:,} residues are A, C, G, T, U or N; {then}{HELP}"
    )


class Beginning:
    """The letters of a file's first residues. Raises `SourceError` if they are those of
    nucleotides, and warns if they may be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = Composition()
        self.is_judged = False

    def add(self, text: bytes) -> None:
        if not self.is_judged:
            self._seen.add(text)
            if self._seen.residues >= FIRST_RESIDUES:
                self.end()

    def end(self) -> None:
        """The file has no more residues."""
        problem = "" if self.is_judged else suspicion(self._seen)
        self.is_judged = True
        if problem and self._seen.is_certain:
            raise SourceError(f"{self._path}: {problem}")
        if problem:
            logger.warning(f"{self._path}: {problem}")


def proteins(records: Iterator[Records], path: Path) -> Iterator[Records]:
    """The same records; nucleotides stop after the first of them."""
    beginning = Beginning(path)
    for batch in records:
        yield batch
        beginning.add(b"".join(batch.sequences) if not beginning.is_judged else b"")
    beginning.end()
