"""What the data give against what the cells ask for: held-out rows, batches, unique tokens."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import short_number
from plm_scaling.config.numbers import Block
from plm_scaling.config.schema import Config
from plm_scaling.study.cell import MAX_EPOCHS, Cell

RESIDUES_PER_BYTE = 8  # of compressed files, at most: 20 letters need 4.3 bits, copies fewer
BATCHES = 20  # that a corpus should hold


class Supply(Block):
    """Rows of the context length that there are, or at most can be."""

    train: dict[str, dict[str, float]]
    """Training rows by source and stratum; a source's stratum "" stands for all."""
    held_out: float
    """Held-out rows of proteins."""
    exact: bool
    """Whether the tokens are made; otherwise it is the most that the files can give."""

    def rows(self, source: str, strata: Sequence[str]) -> float:
        """Training rows of a source in some strata."""
        own = self.train.get(source, {})
        return own[""] if "" in own else sum(own.get(stratum, 0) for stratum in strata)

    def epochs(self, cell: Cell) -> float:
        """How often the cell's scarcest source is gone through; at least, if not `exact`."""
        wanted = cell.tokens / cell.context_length / sum(cell.mixture.values())
        found = [
            share * wanted / rows if (rows := self.rows(source, cell.strata)) else float("inf")
            for source, share in cell.mixture.items()
        ]
        return max(*found, cell.epochs or 0.0)


def made_tokens(manifest: Path) -> Supply:
    """What the manifest of token shards lists."""
    # Here, since it brings pyarrow, and planning need not wait for that.
    from plm_scaling.tokens.format.manifest import entries, read_manifest

    listed = read_manifest(manifest)
    train: dict[str, dict[str, float]] = defaultdict(dict)
    held_out = 0.0
    for split, source, stratum, entry in entries(listed):
        rows = float(sum(shard["rows"] for shard in entry["shards"]))
        if split == "train":
            train[source][stratum] = rows
        elif split == "valid" and listed["splits"][split]["sources"][source]["kind"] == "protein":
            held_out += rows
    return Supply(train=dict(train), held_out=float(held_out), exact=True)


def most_tokens(files: Mapping[str, Sequence[Path]], config: Config) -> Supply | None:
    """The most that files of this machine can give; None unless all sources are such files."""
    if not all(files.get(source) for source in config.sources):
        return None
    row = config.tokens.context_length
    rows = {source: sum(map(_most_residues, own)) / row for source, own in files.items()}
    return Supply(
        train={source: {"": most} for source, most in rows.items()},
        held_out=sum(rows.values()) * config.split.valid_fraction,
        exact=False,
    )


def _most_residues(file: Path) -> int:
    with file.open("rb") as opened:
        plain = opened.read(1) == b">"
    return file.stat().st_size * (1 if plain else RESIDUES_PER_BYTE)


def check_supply(supply: Supply, cells: Collection[Cell], config: Config) -> list[str]:
    """Warnings of cells that repeat their data more often than the laws know.

    Raises `SweepError` where the data cannot give what the cells ask for, naming the key and a
    value that would do.
    """
    for fault in (*_held_out(supply, config), *_batches(supply, cells)):
        raise SweepError(fault)
    return [*_repeated(supply, cells)]


def _held_out(supply: Supply, config: Config) -> Iterator[str]:
    wanted, there = config.training.valid_rows, int(supply.held_out)
    if wanted <= there:
        return
    fraction = config.split.valid_fraction
    needed = 1.2 * fraction * wanted / max(supply.held_out, 1)
    can = [f"training.valid_rows: {there}"] if there else []
    if needed < 0.3:
        can.append(f"split.valid_fraction: {needed:.2g} (now {fraction:g}; makes the data again)")
    can = can or ["more proteins, or a smaller tokens.context_length"]
    most = "" if supply.exact else "at most "
    yield (
        f"training.valid_rows: {wanted} held-out rows are asked for, the data give {most}{there}; "
        f"give {' or '.join(can)}"
    )


def _batches(supply: Supply, cells: Collection[Cell]) -> Iterator[str]:
    for cell in cells:
        rows = sum(supply.rows(source, cell.strata) for source in cell.mixture)
        if cell.batch_rows > rows:
            row = cell.context_length
            fits = max(1, int(rows / BATCHES)) * row
            most = "" if supply.exact else "at most "
            yield (
                f"training.batch_tokens: a batch of {cell.batch_rows * row} tokens (size "
                f"{cell.size} at {cell.flops_budget:g} FLOPs) is larger than corpus {cell.corpus}, "
                f"which has {most}{int(rows * row)}; give {fits} or fewer"
            )


def _repeated(supply: Supply, cells: Collection[Cell]) -> Iterator[str]:
    often = [(epochs, cell) for cell in cells if (epochs := supply.epochs(cell)) > MAX_EPOCHS]
    if not often:
        return
    epochs, worst = max(often, key=lambda one: one[0])
    least = "" if supply.exact else "at least "
    yield (
        f"{len(often)} of {len(cells)} cells go through their data more than {MAX_EPOCHS:g} times, "
        f"up to {least}{epochs:.3g} times (size {worst.size} at {worst.flops_budget:g} FLOPs): "
        f"most laws leave them out. {short_number(worst.tokens * MAX_EPOCHS / epochs)} tokens a "
        "cell would do: lower sweep.budgets_flops, or the upper end of sweep.tokens_per_parameter"
    )
