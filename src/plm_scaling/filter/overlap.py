"""How the perplexity rule, the low-complexity rule and masking by tantan overlap, on a sample.

tantan (Frith 2011, as `mmseqs masksequence`) marks tandem repeats residue by residue and drops
nothing here; it is the independent view that shows what perplexity does not catch.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.files import atomic
from plm_scaling.filter.chunks import entries
from plm_scaling.filter.membership import TRAIN
from plm_scaling.filter.ngram import END
from plm_scaling.filter.rules import LOW_COMPLEXITY, REASONS
from plm_scaling.filter.scores import PartScores
from plm_scaling.mmseqs.tool import Mmseqs
from plm_scaling.pool.database import data_files, write_index

SAMPLE = 20_000  # sequences
MASKED_SHARE = 0.2  # a sequence counts as masked from this share of its residues
COLUMNS = (
    *("source", "perplexity", "low_complexity", "masked"),
    *("sequences", "share", "residues", "masked_residues"),
)
_NAMED = ("source", "perplexity")
_IS_LOWER = bytes(chr(byte).islower() for byte in range(256))


class Overlap:
    """A sample of training representatives: the lowest digests, which come first.

    Those that fail for their length or unknown residues are not of interest here and left out.
    """

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources
        self._entries: list[bytes] = []
        self._columns: list[tuple[np.ndarray, ...]] = []
        self._size = 0

    def add(self, part: PartScores, code: np.ndarray, verdict: np.ndarray) -> None:
        """Take from a part; `code` and `verdict` are those of the other rules and of perplexity."""
        wanted = SAMPLE - self._size
        low = code == REASONS.index(LOW_COMPLEXITY)
        open_ = part.membership.of(TRAIN) & part.membership.representative & ((code == 0) | low)
        key = np.flatnonzero(open_)[:wanted]
        if not len(key):
            return
        offsets, lengths = part.part.index()
        self._entries.append(entries(memoryview(part.part.data()), offsets, lengths, key))
        self._columns.append((part.owner[key], verdict[key], low[key], lengths[key]))
        self._size += len(key)

    def write(self, path: Path, tool: Mmseqs) -> None:
        """Mask the sample and write sequences and residues per combination, as TSV.

        `perplexity` is kept, too low or too high, whatever the low-complexity rule says; `masked`
        is true from `MASKED_SHARE` of the residues; `share` is of the source's sequences.
        """
        with atomic(path) as temporary:
            self._table(path.parent, tool).to_csv(temporary, sep="\t", index=False)

    def _table(self, folder: Path, tool: Mmseqs) -> pd.DataFrame:
        if not self._size:
            return pd.DataFrame(columns=list(COLUMNS))
        owner, verdict, low, length = (
            np.concatenate(values) for values in zip(*self._columns, strict=True)
        )
        masked = _masked_residues(b"".join(self._entries), length, tool, folder)
        table = pd.DataFrame(
            {
                "source": np.asarray(self.sources)[owner],
                "perplexity": np.asarray(REASONS)[verdict],
                "low_complexity": low,
                "masked": masked >= MASKED_SHARE * length,
                "residues": length,
                "masked_residues": masked,
            }
        )
        groups = table.groupby(["source", "perplexity", "low_complexity", "masked"])
        sums = groups[["residues", "masked_residues"]].sum()
        sums["sequences"] = groups.size()
        sums = sums.reset_index()
        sums["share"] = (
            sums["sequences"] / sums.groupby("source")["sequences"].transform("sum")
        ).round(6)
        order = {name: place for place, name in enumerate((*self.sources, *REASONS))}
        sums = sums.sort_values(
            ["source", "perplexity", "low_complexity", "masked"],
            key=lambda column: column.map(order) if column.name in _NAMED else column,
        )
        return sums[list(COLUMNS)]


def _masked_residues(sample: bytes, lengths: np.ndarray, tool: Mmseqs, folder: Path) -> np.ndarray:
    """Residues of each sequence that tantan masks, by `mmseqs masksequence` (lower case)."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="masking.") as work:
        database = Path(work) / "sample"
        database.write_bytes(sample)
        sizes = lengths + len(END)
        write_index(database, [(np.arange(len(sizes)), np.cumsum(sizes) - sizes, sizes)])
        out = Path(work) / "masked"
        tool.run("masksequence", database, out, "--threads", 1)  # one thread keeps the order
        masked = b"".join(path.read_bytes() for path in data_files(out))
    lower = np.frombuffer(masked.translate(_IS_LOWER), np.uint8)
    return np.add.reduceat(lower, np.cumsum(sizes) - sizes, dtype=np.int64)
