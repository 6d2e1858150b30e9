"""Invented protein families for tests."""

import numpy as np

AMINO_ACIDS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
Records = dict[str, list[tuple[str, str]]]  # by source: id and residues


def random_protein(rng: np.random.Generator, length: int) -> str:
    """Residues drawn evenly."""
    return rng.choice(AMINO_ACIDS, length).tobytes().decode()


def mutate(rng: np.random.Generator, protein: str, rate: float) -> str:
    """Replace exactly the share `rate` of the residues, each by another one."""
    residues = np.frombuffer(protein.encode(), np.uint8).copy()
    places = rng.choice(len(residues), round(rate * len(residues)), replace=False)
    number = np.searchsorted(AMINO_ACIDS, residues[places])
    shift = rng.integers(1, len(AMINO_ACIDS), len(places))
    residues[places] = AMINO_ACIDS[(number + shift) % len(AMINO_ACIDS)]
    return residues.tobytes().decode()


def families(n_families: int, sources: list[str], seed: int = 7) -> Records:
    """Families of three: an ancestor (a), 2 % away from it (b), 30 % away (c), over the sources.

    An id such as `one17b` names source, family and member.
    """
    rng = np.random.default_rng(seed)
    records: Records = {source: [] for source in sources}
    for number in range(n_families):
        ancestor = random_protein(rng, int(rng.integers(60, 300)))
        for member, rate in zip("abc", (0, 0.02, 0.3), strict=True):
            source = sources[rng.integers(len(sources))]
            records[source].append((f"{source}{number}{member}", mutate(rng, ancestor, rate)))
    return records


def family_of(name: str) -> int:
    """The family's number in an id of `families`."""
    return int("".join(filter(str.isdigit, name)))
