"""Loss on the held-out rows: the same for every run of a study, whatever it is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plm_scaling.study.cell import Cell
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.train.data.batches import Batch, batch_of

SPLITS = ("valid", "ood")
EVALUATION_ROWS = 32  # rows per forward pass
EVALUATION_MASK_SEED = 0  # the same masks for every cell and every evaluation
COMMON = "common"  # held-out set with one masking for all MLM cells: `token`, 15 %
SOURCE_ROWS = 64  # rows of a source at least, as far as it has them, for a loss of its own

Sources = dict[str, NDArray[np.uint8]]  # rows by source


@dataclass(frozen=True)
class HeldOut:
    """The held-out rows as batches that belong to groups.

    A group is the rows of one source in one split, `names[i]` is `{split}/{source}`. A source with
    few rows has a second group of the same name with rows that count only for it: `in_split[i]` is
    False there. With each batch goes the group of each of its rows, int64 (rows,).
    """

    names: list[str]
    in_split: list[bool]
    batches: list[tuple[Batch, NDArray[np.int64]]]

    @property
    def sets(self) -> dict[str, list[int]]:
        """The groups of each held-out set: `valid` and `ood` (all sources, in proportion to their
        held-out rows), each followed by its sources."""
        found: dict[str, list[int]] = {}
        for group, (name, in_split) in enumerate(zip(self.names, self.in_split, strict=True)):
            split = name.split("/")[0]
            found.setdefault(split, []).extend([group] * in_split)
            found.setdefault(name, []).append(group)
        return found

    def predicted_tokens(self) -> dict[str, int]:
        """Tokens whose prediction counts in each held-out set, from which its noise follows."""
        total = torch.zeros(len(self.names), 2, dtype=torch.float64)
        for batch, groups in self.batches:
            total += loss_sums(batch.loss_mask, batch, groups, len(self.names))
        return {name: int(total[of, 1].sum()) for name, of in self.sets.items()}


def held_out(corpus: TokenCorpus, cell: Cell) -> HeldOut:
    """The held-out sets of the data: valid, ood where there is one, and each source of both; with
    `common_evaluation` the rows of valid once more with the common masking.

    `valid` is a sample of `cell.valid_rows` rows, `ood` one of at most as many. The rows depend
    only on the data and `data_seed`, MLM masks also on a row's place, so that every run of a study
    is evaluated on the same tasks. Raises `TokenError` when there are too few rows.
    """
    names: list[str] = []
    in_split: list[bool] = []
    batches: list[tuple[Batch, NDArray[np.int64]]] = []
    first_row = 0
    own = replace(cell, seed=EVALUATION_MASK_SEED)
    common = replace(own, masking="token", mask_ratio=0.15)

    def add(split: str, proportional: bool, of_source: Sources, masks: Cell) -> None:
        numbers = np.arange(len(names), len(names) + len(of_source))
        groups = np.repeat(numbers, [len(rows) for rows in of_source.values()])
        rows = np.concatenate(list(of_source.values()))
        for begin in range(0, len(rows), EVALUATION_ROWS):
            chosen = slice(begin, begin + EVALUATION_ROWS)
            batches.append((batch_of(masks, rows[chosen], first_row + begin), groups[chosen]))
        names.extend(f"{split}/{source}" for source in of_source)
        in_split.extend([proportional] * len(of_source))

    for split, proportional, of_source in _samples(corpus, cell):
        add(split, proportional, of_source, own)
        if cell.common_evaluation and split == "valid" and proportional:
            add(COMMON, True, of_source, common)
        first_row += sum(map(len, of_source.values()))
    return HeldOut(names, in_split, batches)


def _samples(corpus: TokenCorpus, cell: Cell) -> Iterator[tuple[str, bool, Sources]]:
    """Split, whether the rows are in proportion, and the rows by source, where there are any."""
    for split in SPLITS:
        n_rows = cell.valid_rows
        if split != "valid":
            n_rows = min(n_rows, corpus.n_held_out_rows(split))
        if n_rows == 0:
            continue
        least = min(SOURCE_ROWS, cell.valid_rows)
        samples = corpus.held_out_rows(split, n_rows, cell.data_seed, least)
        own = {name: sample.rows[: sample.proportional] for name, sample in samples.items()}
        more = {name: sample.rows[sample.proportional :] for name, sample in samples.items()}
        for proportional, of_source in ((True, own), (False, more)):
            of_source = {name: rows for name, rows in of_source.items() if len(rows)}
            if of_source:
                yield split, proportional, of_source


def loss_sums(losses: Tensor, batch: Batch, groups: NDArray[np.int64], n_groups: int) -> Tensor:
    """Sum of the losses that count (nats) and their number by group of the rows.

    `losses` [rows, context_length] as `model_losses` gives them; float64 (n_groups, 2) on their
    device. Sums of batches add up.
    """
    mask = batch.loss_mask
    by_row = torch.stack(
        [(losses * mask).sum(1, dtype=torch.float64), mask.sum(1, dtype=torch.float64)], 1
    )
    sums = torch.zeros(n_groups, 2, dtype=torch.float64, device=by_row.device)
    return sums.index_add_(0, torch.from_numpy(groups).to(by_row.device), by_row)


def mean_losses(held_out: HeldOut, sums: Tensor) -> dict[str, float]:
    """Mean nats/token of each held-out set from the sums over all batches, (n_groups, 2).

    A set in which nothing is predicted (a source of a few residues) has no loss and is left out.
    """
    nats, count = sums.cpu().unbind(1)
    return {
        name: float(nats[of].sum() / count[of].sum())
        for name, of in held_out.sets.items()
        if count[of].sum() > 0
    }
