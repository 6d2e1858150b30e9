"""What the data give against what the cells ask for: held-out rows, batches, unique tokens,
epochs."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from plm_scaling.common.errors import SweepError
from plm_scaling.common.progress import short_number
from plm_scaling.config.numbers import Block
from plm_scaling.config.schema import Config
from plm_scaling.study.cell import MAX_EPOCHS, Cell
from plm_scaling.study.laws import WITHOUT_REPEATS
from plm_scaling.sweep.settings import batch_rows_at, settings

RESIDUES_PER_BYTE = 8  # of compressed files, at most: 20 letters need 4.3 bits, copies fewer
BATCHES = 20  # that a corpus should hold


ByStratum = dict[str, dict[str, float]]
"""By source and stratum; a source's stratum "" stands for all."""


class Supply(Block):
    """What there is, or at most can be. Rows have the context length."""

    train: ByStratum
    """Training rows."""
    tokens: ByStratum
    """Training tokens, without padding."""
    held_out: float
    """Held-out rows of proteins."""
    exact: bool
    """Whether the tokens are made; otherwise it is the most that the files can give."""

    def rows(self, source: str, strata: Sequence[str]) -> float:
        """Training rows of a source in some strata."""
        return _of(self.train, source, strata)

    def epochs(self, cell: Cell) -> float:
        """How often the cell's scarcest source is gone through; at least, if not `exact`."""
        wanted = cell.tokens / cell.context_length / sum(cell.mixture.values())
        found = [
            share * wanted / rows if (rows := self.rows(source, cell.strata)) else float("inf")
            for source, share in cell.mixture.items()
        ]
        return max(*found, cell.epochs or 0.0)


def _of(amounts: ByStratum, source: str, strata: Sequence[str]) -> float:
    own = amounts.get(source, {})
    return own[""] if "" in own else sum(own.get(stratum, 0) for stratum in strata)


def made_tokens(manifest: Path) -> Supply:
    """What the manifest of token shards lists."""
    # Here, since it brings pyarrow, and planning need not wait for that.
    from plm_scaling.tokens.format.manifest import entries, read_manifest

    listed = read_manifest(manifest)
    train: ByStratum = defaultdict(dict)
    tokens: ByStratum = defaultdict(dict)
    held_out = 0.0
    for split, source, stratum, entry in entries(listed):
        rows = float(sum(shard["rows"] for shard in entry["shards"]))
        if split == "train":
            train[source][stratum] = rows
            tokens[source][stratum] = sum(shard["tokens"] for shard in entry["shards"])
        elif split == "valid" and listed["splits"][split]["sources"][source]["kind"] == "protein":
            held_out += rows
    return Supply(train=train, tokens=tokens, held_out=held_out, exact=True)


def most_tokens(files: Mapping[str, Sequence[Path]], config: Config) -> Supply | None:
    """The most that files of this machine can give; None unless all sources are such files."""
    if not all(files.get(source) for source in config.sources):
        return None
    row = config.tokens.context_length
    residues = {source: float(sum(map(_most_residues, own))) for source, own in files.items()}
    return Supply(
        train={source: {"": most / row} for source, most in residues.items()},
        tokens={source: {"": most} for source, most in residues.items()},
        held_out=sum(residues.values()) / row * config.split.valid_fraction,
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
    faults = (
        *(*_held_out(supply, config), *_empty(supply, cells), *_batches(supply, cells, config)),
        *(*_unique(supply, cells), *_too_often(supply, cells, config.sweep.max_epochs)),
    )
    for fault in faults:
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


def _empty(supply: Supply, cells: Collection[Cell]) -> Iterator[str]:
    for cell in cells:
        for source in cell.mixture:
            if not supply.rows(source, cell.strata):
                yield (
                    f"corpora.{cell.corpus}.mixture: source {source} has no training row of "
                    f"{', '.join(cell.strata)}; leave it out, or give it more proteins"
                )


def _batches(supply: Supply, cells: Collection[Cell], config: Config) -> Iterator[str]:
    for cell in cells:
        if too_large := too_large_batch(supply, cell):
            row = cell.context_length
            fits = max(1, int(_rows(supply, cell) / BATCHES)) * row
            key, do = "training.batch_tokens", f"give {fits} or fewer"
            if not _configured_batch(cell, config):
                key = "sweep.tuning"
                do = (
                    "its law gave this batch to a stage; give the corpus more proteins, or move "
                    f"the records in results/{config.study}/stages that have a batch aside: stages "
                    "are placed anew, with training.batch_tokens where the law's batches are too "
                    "large, and finished cells of these stages get another batch and are trained "
                    "again"
                )
            yield f"{key}: {too_large}; {do}"


def too_large_batch(supply: Supply, cell: Cell, verb: str = "is") -> str | None:
    """That the cell's batch is (or "would be") larger than its corpus, with both in tokens; None if
    it is not."""
    rows = _rows(supply, cell)
    if cell.batch_rows <= rows:
        return None
    row, most = cell.context_length, "" if supply.exact else "at most "
    return (
        f"a batch of {cell.batch_rows * row} tokens (size {cell.size} at {cell.flops_budget:g} "
        f"FLOPs) {verb} larger than corpus {cell.corpus}, which has {most}{int(rows * row)}"
    )


def _rows(supply: Supply, cell: Cell) -> float:
    return sum(supply.rows(source, cell.strata) for source in cell.mixture)


def _configured_batch(cell: Cell, config: Config) -> bool:
    """Whether training.batch_tokens and the factors of the sweep give the cell's batch; otherwise a
    stage has it by the law of sweep.tuning."""
    factors = {at.batch_factor for at in settings(config)}
    factors |= {*config.sweep.tuning.batch_factors} if config.sweep.tuning else set()
    meant = cell.flops_budget / (6 * cell.n_params)
    of = (config.training.batch_tokens, cell.n_params, meant, cell.context_length)
    return cell.batch_rows in {batch_rows_at(*of, factor) for factor in factors}


def _unique(supply: Supply, cells: Collection[Cell]) -> Iterator[str]:
    most = "" if supply.exact else "at most "
    for cell in cells:
        limit = cell.unique_tokens_limit
        if limit is None:
            continue
        there = {source: _of(supply.tokens, source, cell.strata) for source in cell.mixture}
        of_source = limit if isinstance(limit, dict) else _divided(limit, cell.mixture)
        for source, wanted in of_source.items():
            if wanted > there[source]:
                fits = f"{{{source}: {int(there[source])}}}"
                if not isinstance(limit, dict):
                    fits = str(int(limit * min(there[s] / of_source[s] for s in there)))
                yield (
                    f"corpora.{cell.corpus}.unique_tokens: {wanted:,.0f} unique tokens of source "
                    f"{source} are asked for, which has {most}{there[source]:,.0f}; give {fits} or "
                    "fewer"
                )


def _divided(tokens: float, mixture: Mapping[str, float]) -> dict[str, float]:
    """By the shares of the sources, as `TokenCorpus.train_rows` does."""
    return {source: tokens * share / sum(mixture.values()) for source, share in mixture.items()}


def _too_often(supply: Supply, cells: Collection[Cell], most: float) -> Iterator[str]:
    """Repeats that nobody asked for; with `unique_tokens` somebody does."""
    for cell in cells:
        if cell.unique_tokens_limit is None and (epochs := supply.epochs(cell)) > most:
            least = "" if supply.exact else "at least "
            yield (
                f"sweep.max_epochs: size {cell.size} at {cell.flops_budget:g} FLOPs would go "
                f"through corpus {cell.corpus} {least}{epochs:.3g} times, and {most:g} are "
                f"allowed; {_fewer(cell, epochs, most)}, or raise sweep.max_epochs"
            )


def _fewer(cell: Cell, epochs: float, most: float) -> str:
    return (
        f"{short_number(cell.tokens * most / epochs)} tokens a cell would do: lower "
        "sweep.budgets_flops, or the upper end of sweep.tokens_per_parameter"
    )


def _repeated(supply: Supply, cells: Collection[Cell]) -> Iterator[str]:
    often = [(epochs, cell) for cell in cells if (epochs := supply.epochs(cell)) > MAX_EPOCHS]
    if not often:
        return
    epochs, worst = max(often, key=lambda one: one[0])
    least = "" if supply.exact else "at least "
    yield (
        f"{len(often)} of {len(cells)} cells go through their scarcest source more than "
        f"{MAX_EPOCHS:g} times, up to {least}{epochs:.3g} times (size {worst.size} at "
        f"{worst.flops_budget:g} FLOPs). Runs of more than {MAX_EPOCHS:g} epochs of all their data "
        f"are left out by the laws {', '.join(WITHOUT_REPEATS)}; "
        f"{_fewer(worst, epochs, MAX_EPOCHS)}"
    )
