"""Sets of protein sequences with planted clusters, so that what should be found is known.

A *family* descends from a random ancestor, its *subfamilies* from that: members of one subfamily
share at least 93 % of their residues, members of two subfamilies of a family at least 53 % (60 to
80 % mostly), before deletions. Ancestors are independent random sequences, so that no pair of
families is homologous and a cluster across families is an error. Substitutions fall anywhere and
are drawn from the background, which leaves fewer common k-mers than evolution does: recall on these
sets is a lower estimate. Besides members there are exact copies in another source, fragments (too
short for a coverage of 0.8), singletons, low-complexity records, and a few records in lower case.

The truth is in the ids: `m12.34.5` is the fifth record, a member of subfamily 34 of family 12.
Sets are made in blocks, so that memory does not grow with their size: 2 million sequences (650
million residues) take half a CPU-minute and 0.3 GB.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from isal import igzip

from plm_scaling.common.parts import part_name
from plm_scaling.mmseqs.tool import Mmseqs
from plm_scaling.pool.read import Pool

# UniProtKB/Swiss-Prot, composition in percent for the complete database (release statistics,
# section 5.1, release 2023_01).
BACKGROUND = {
    **{"A": 8.25, "Q": 3.93, "L": 9.65, "S": 6.64, "R": 5.53, "E": 6.72, "K": 5.80, "T": 5.35},
    **{"N": 4.06, "G": 7.07, "M": 2.41, "W": 1.10, "D": 5.46, "H": 2.27, "F": 3.86, "Y": 2.92},
    **{"C": 1.38, "I": 5.91, "P": 4.74, "V": 6.86},
}
# Residue of a random 16-bit number.
_RESIDUES = np.repeat(
    np.frombuffer("".join(BACKGROUND).encode(), np.uint8),
    np.diff(
        np.round(65536 * np.cumsum([0, *BACKGROUND.values()]) / sum(BACKGROUND.values()))
    ).astype(int),
)

# Lengths in residues: lognormal with median 270, cut to 30..3000; the mean is 320.
MEDIAN_LENGTH, LOG_SIGMA, MIN_LENGTH, MAX_LENGTH = 270, 0.6, 30, 3000

# Guaranteed identity of two subfamily ancestors of a family, and of two members of a subfamily
# (before deletions); each drawn evenly from its range, per family and per member.
BETWEEN_SUBFAMILIES = (0.60, 0.72)
WITHIN_SUBFAMILY = (0.93, 0.99)
SUBFAMILIES_PER_FAMILY, MEMBERS_PER_SUBFAMILY = 3, 3  # means of geometric distributions
DELETIONS = 0.1  # share of members
FRAGMENT = (0.4, 0.6)  # of the length it was cut from
REPEAT_UNIT = (2, 6)  # residues, of a low-complexity record

COPIES, FRAGMENTS, SINGLETONS, LOW_COMPLEXITY = 0.05, 0.04, 0.2, 0.005  # shares of the records
LOWER_CASE = 0.002

MEMBER, COPY, FRAGMENT_OF, SINGLETON, LOW = "mcfsl"
BLOCK = 20_000  # records; part of what a seed means


@dataclass(frozen=True)
class Ragged:
    """Byte strings in one array: `data` (uint8) and the `lengths` of the strings in it."""

    data: np.ndarray
    lengths: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.lengths) - self.lengths

    def take(self, rows: np.ndarray) -> "Ragged":
        """The strings of these rows, in that order."""
        return self.cut(rows, np.zeros(len(rows), np.int64), self.lengths[rows])

    def cut(self, rows: np.ndarray, first: np.ndarray, lengths: np.ndarray) -> "Ragged":
        """`lengths[i]` bytes of string `rows[i]`, from its byte `first[i]`."""
        shift = self.starts[rows] + first - (np.cumsum(lengths) - lengths)
        index = np.arange(lengths.sum())
        index += np.repeat(shift, lengths)
        return Ragged(self.data[index], lengths)


@dataclass(frozen=True)
class Truth:
    """What is known of records, one entry of each array per record.

    `kind` is a letter (m member, c copy of one, f fragment of one, s singleton, l low complexity).
    `family` and `subfamily` say where a record descends from, a fragment too.
    """

    kind: np.ndarray
    family: np.ndarray
    subfamily: np.ndarray

    def clusters(self, level: str) -> np.ndarray:
        """True cluster (int64 label) at `level`, "family" (50 %) or "subfamily" (90 %).

        A fragment is a separate cluster: it covers less than 0.8 of any other record.
        """
        labels = {"family": self.family, "subfamily": self.subfamily}[level]
        return np.where(self.kind == FRAGMENT_OF, -1 - self.family, labels)


def write_planted(
    folder: Path,
    n: int,
    seed: int = 0,
    sources: Iterable[str] = ("a", "b"),
    gzip: bool = False,
    deletions: float = DELETIONS,
) -> dict[str, Path]:
    """Write about even shares of `n` records to `folder`/{source}.fasta (.gz); their paths.

    `deletions` is the share of members that lack a run of residues, at most 1 % of their length.
    """
    suffix = ".fasta.gz" if gzip else ".fasta"
    paths = {source: folder / (source + suffix) for source in sources}
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = [
            stack.enter_context(igzip.open(path, "wb") if gzip else path.open("wb"))
            for path in paths.values()
        ]
        for ids, sequences, source in _blocks(n, seed, len(files), deletions):
            for number, file in enumerate(files):
                chosen = np.flatnonzero(source == number)
                file.writelines(b">%s\n%s\n" % (ids[i], sequences[i]) for i in chosen)
    return paths


def planted_records(
    n: int, seed: int = 0, sources: Iterable[str] = ("a", "b"), deletions: float = DELETIONS
) -> dict[str, list[tuple[str, str]]]:
    """(id, sequence) of each record by source: the same records as `write_planted` writes."""
    names = list(sources)
    records: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for ids, sequences, source in _blocks(n, seed, len(names), deletions):
        for record_id, sequence, number in zip(ids, sequences, source, strict=True):
            records[names[number]].append((record_id.decode(), sequence.decode()))
    return records


def truth_of(ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> Truth:
    """The truth of records by their ids."""
    array = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    found = pc.extract_regex(array, r"^(?P<kind>[mcfsl])(?P<family>\d+)\.(?P<subfamily>\d+)\.\d+$")
    if found.null_count:
        raise ValueError("some ids are not those of planted records")
    kind, family, subfamily = (
        pc.struct_field(found, name) for name in ("kind", "family", "subfamily")
    )
    return Truth(
        kind.to_numpy(zero_copy_only=False).astype("U1"),
        family.cast(pa.int64()).to_numpy(),
        subfamily.cast(pa.int64()).to_numpy(),
    )


def pair_scores(truth: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Precision and recall of the pairs that `clusters` puts together; labels, one per record.

    Pairs are counted from the sizes of clusters and of their intersections, not one by one. A
    clustering without pairs has precision 1, a truth without pairs recall 1.
    """
    _, rows = np.unique(truth, return_inverse=True)
    _, columns = np.unique(clusters, return_inverse=True)
    both = _pairs(rows * (columns.max(initial=0) + 1) + columns)
    true, found = _pairs(rows), _pairs(columns)
    return both / found if found else 1.0, both / true if true else 1.0


def cluster_labels(mmseqs: Mmseqs, clusters: Path, n: int) -> np.ndarray:
    """The key of the representative of each key below `n`, from MMseqs2's database `clusters`.

    A key that is not in it stands for itself.
    """
    table = clusters.with_name(f"{clusters.name}.tsv")
    mmseqs.run("prefixid", clusters, table, "--tsv", 1, "--threads", 1)
    rows = pa.csv.read_csv(
        table,
        pa.csv.ReadOptions(column_names=["representative", "member"]),
        pa.csv.ParseOptions(delimiter="\t"),
    )
    labels = np.arange(n)
    labels[rows["member"].to_numpy()] = rows["representative"].to_numpy()
    return labels


def record_labels(pool: Pool, folder: Path, column: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Id of each record of a pool, and what its sequence has in `column` of `folder`'s parts."""
    ids, labels = [], []
    for part in pool.parts:
        values = pq.read_table(folder / f"{part_name(part.number)}.parquet", columns=[column])
        column_values = values[column].to_numpy()
        for rows in part.records(["key", "id"]):
            ids += rows["id"].chunks
            labels.append(column_values[rows["key"].to_numpy()])
    return pa.chunked_array(ids), np.concatenate(labels)


def _pairs(labels: np.ndarray) -> int:
    _, sizes = np.unique(labels, return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())


def _blocks(
    n: int, seed: int, n_sources: int, deletions: float
) -> Iterator[tuple[list[bytes], list[bytes], np.ndarray]]:
    """Ids, sequences and number of the source of the records, block by block, in random order."""
    families = subfamilies = records = 0
    for block, first in enumerate(range(0, n, BLOCK)):
        rng = np.random.default_rng([seed, block])
        here = min(BLOCK, n - first)
        kind, family, subfamily, residues, source = _block(rng, here, n_sources, deletions)
        data, starts = residues.data.tobytes(), residues.starts
        order = rng.permutation(len(kind))
        lower = rng.random(len(kind)) < LOWER_CASE
        ids, sequences = [], []
        for i in order:
            records += 1
            label = f"{kind[i]}{family[i] + families}.{subfamily[i] + subfamilies}.{records}"
            ids.append(label.encode())
            sequence = data[starts[i] : starts[i] + residues.lengths[i]]
            sequences.append(sequence.lower() if lower[i] else sequence)
        yield ids, sequences, source[order]
        families += int(family.max()) + 1
        subfamilies += int(subfamily.max()) + 1


def _block(
    rng: np.random.Generator, n: int, n_sources: int, deletions: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Ragged, np.ndarray]:
    """Kind, family, subfamily, residues and number of the source of `n` records."""
    n_copies, n_singletons, n_low = (int(n * s) for s in (COPIES, SINGLETONS, LOW_COMPLEXITY))
    n_fragments = int(n * FRAGMENTS)
    n_members = n - n_copies - n_singletons - n_low - n_fragments

    subfamily = _groups(rng, n_members, MEMBERS_PER_SUBFAMILY)  # of each member
    n_subfamilies = int(subfamily[-1]) + 1
    family_of = _groups(rng, n_subfamilies, SUBFAMILIES_PER_FAMILY)  # of each subfamily
    n_families = int(family_of[-1]) + 1

    ancestors = _random(rng, n_families)
    between = rng.uniform(*BETWEEN_SUBFAMILIES, n_families)
    heads = _substitute(rng, ancestors.take(family_of), between[family_of])
    within = rng.uniform(*WITHIN_SUBFAMILY, n_members)
    members = _delete(rng, _substitute(rng, heads.take(subfamily), within), deletions)
    family = family_of[subfamily]

    copied = rng.integers(0, n_members, n_copies)
    # One fragment per family at most: two of one family could cover each other.
    _, first = np.unique(family, return_index=True)
    long_enough = first[members.lengths[first] * FRAGMENT[0] >= MIN_LENGTH]
    parents = rng.permutation(long_enough)[:n_fragments]
    fragment_lengths = (rng.uniform(*FRAGMENT, len(parents)) * members.lengths[parents]).astype(int)
    begin = rng.random(len(parents)) * (members.lengths[parents] - fragment_lengths)
    n_singletons += n_fragments - len(parents)

    parts = [
        (MEMBER, members, family, subfamily),
        (COPY, members.take(copied), family[copied], subfamily[copied]),
        (
            FRAGMENT_OF,
            members.cut(parents, begin.astype(int), fragment_lengths),
            family[parents],
            subfamily[parents],
        ),
        (SINGLETON, _random(rng, n_singletons), *_own(n_families, n_subfamilies, n_singletons)),
        (
            LOW,
            _low_complexity(rng, n_low),
            *_own(n_families + n_singletons, n_subfamilies + n_singletons, n_low),
        ),
    ]
    source = rng.integers(0, n_sources, n)
    copies = slice(n_members, n_members + n_copies)
    if n_sources > 1:  # a copy lies in another source than the original
        other = rng.integers(1, n_sources, n_copies)
        source[copies] = (source[copied] + other) % n_sources
    return (
        np.repeat([part[0] for part in parts], [len(part[2]) for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
        Ragged(
            np.concatenate([part[1].data for part in parts]),
            np.concatenate([part[1].lengths for part in parts]),
        ),
        source,
    )


def _own(family: int, subfamily: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A new family and subfamily for each of `n` records, counted from those given."""
    return family + np.arange(n), subfamily + np.arange(n)


def _groups(rng: np.random.Generator, n: int, mean_size: float) -> np.ndarray:
    """Group (0, 1, …) of each of `n` items; sizes are geometric, the last may be cut."""
    return np.repeat(np.arange(n), rng.geometric(1 / mean_size, n))[:n]


def random_residues(rng: np.random.Generator, n: int) -> np.ndarray:
    return _RESIDUES[rng.integers(0, len(_RESIDUES), n, np.uint16)]


def _lengths(rng: np.random.Generator, n: int) -> np.ndarray:
    lengths = rng.lognormal(np.log(MEDIAN_LENGTH), LOG_SIGMA, n)
    return np.clip(lengths, MIN_LENGTH, MAX_LENGTH).astype(np.int64)


def _random(rng: np.random.Generator, n: int) -> Ragged:
    lengths = _lengths(rng, n)
    return Ragged(random_residues(rng, lengths.sum()), lengths)


def _substitute(rng: np.random.Generator, parents: Ragged, identity: np.ndarray) -> Ragged:
    """Each of `parents` with so many substitutions that two children of one share `identity`.

    A position may be hit twice and a residue be drawn for itself: the identity is a lower bound.
    """
    hits = np.maximum(1, ((1 - identity) / 2 * parents.lengths).astype(np.int64))
    rows = np.repeat(np.arange(len(hits)), hits)
    positions = parents.starts[rows] + (rng.random(len(rows)) * parents.lengths[rows]).astype(int)
    data = parents.data.copy()
    data[positions] = random_residues(rng, len(positions))
    return Ragged(data, parents.lengths)


def _delete(rng: np.random.Generator, members: Ragged, share: float) -> Ragged:
    """Take a run of residues, at most 1 % of the length, out of some members."""
    longest = members.lengths // 100
    chosen = np.flatnonzero((rng.random(len(longest)) < share) & (longest > 0))
    runs = 1 + (rng.random(len(chosen)) * longest[chosen]).astype(int)
    first = (rng.random(len(chosen)) * (members.lengths[chosen] - runs)).astype(int)
    begin = np.repeat(members.starts[chosen] + first - (np.cumsum(runs) - runs), runs)
    lengths = members.lengths.copy()
    lengths[chosen] -= runs
    return Ragged(np.delete(members.data, begin + np.arange(runs.sum())), lengths)


def _low_complexity(rng: np.random.Generator, n: int) -> Ragged:
    """Repeats of a short random unit."""
    lengths = _lengths(rng, n)
    units = rng.integers(REPEAT_UNIT[0], REPEAT_UNIT[1] + 1, n)
    unit = random_residues(rng, n * REPEAT_UNIT[1]).reshape(n, REPEAT_UNIT[1])
    rows = np.repeat(np.arange(n), lengths)
    position = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Ragged(unit[rows, position % units[rows]], lengths)
