"""Split the representatives into training and held-out sets by whole clusters.

Random assignment of single sequences would put close relatives on both sides. Here clusters at
`min_seq_id` identity are assigned whole; then a search of training with what is held out finds what
clustering missed, and those held-out sequences are dropped.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import DedupError
from plm_scaling.common.files import write_json
from plm_scaling.common.parts import part_name
from plm_scaling.common.rows import read_all
from plm_scaling.config.data import Clusters
from plm_scaling.dedup import KEPT_OUT, STAGE_VERSION
from plm_scaling.dedup.assign import OOD, SPLITS, TRAIN, Drawing, assign
from plm_scaling.dedup.deduplicate import file_state, pool_state
from plm_scaling.dedup.purge import PURGE_E_VALUE, PURGE_MAX_SEQS, Purge
from plm_scaling.dedup.split_tables import write_tables
from plm_scaling.dedup.split_views import view_of
from plm_scaling.mmseqs.clusters import cluster
from plm_scaling.mmseqs.homology import Criteria
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.pool.arrays import new_array, open_array
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import Selection, keys_of, span

logger = logging.getLogger("plm_scaling")

# linclust compares sequences that share a k-mer. With 80 spaced k-mers per sequence instead of 21
# plain ones it finds 92 % of the pairs at 50 % identity instead of 59 % (docs/scale.md).
OPTIONS: dict[str, tuple[str | int, ...]] = {
    "linclust": ("--kmer-per-seq", 80, "--spaced-kmer-mode", 1),
    "cluster": (),
}


def split_clusters(
    pool: Path,
    dedup: Path,
    settings: Clusters,
    reference_source: str,
    seed: int,
    resources: Resources,
    mmseqs: str,
    out: Path,
    ood_sources: Sequence[str] = (),
    downstream: Sequence[Path] = (),
) -> None:
    """Assign clusters of the representatives that `dedup` chose to the splits.

    Clusters (`settings`) are of representatives at `min_seq_id` over `coverage` of both. One of
    which every record, also of redundant sequences, comes from `ood_sources` goes to ood. Others
    are drawn for valid and reference by a hash of `seed` and the sequence of the cluster's
    representative: other sequences in the input do not change the draw. The fractions are of
    clusters. Members of `reference_source` in reference clusters train the n-gram model; their
    other members are dropped (in_reference_cluster), and a drawn cluster without any member of it
    goes to training instead.

    A training sequence that covers `coverage` of a sequence in the cleaned folders `downstream` at
    `min_seq_id` is dropped (homologous_to_downstream). Then valid and ood sequences that are
    covered so by a training sequence, or with `purge: cumulative` by several together (see
    `Coverage`), are dropped (homologous_to_training). A redundant sequence has
    the cluster, split and reason of its representative; but one in training that covers so what is
    still held out, or a downstream sequence, is dropped itself (homologous_to_held_out): what is
    held out does not depend on whether redundant sequences are trained on.

    The folder `out` gets part-0000.parquet … with a row for each sequence of the pool's part, an
    MMseqs2 database of links for each split, splits.tsv, counts.tsv and tool.json; kept_out.json
    beside it gets the names of `downstream`. The result depends neither on `resources` nor on the
    number of parts. Finished steps of a killed attempt are used.

    Args:
        pool: folder with all pooled parts
        dedup: folder made by deduplicate.py
        settings: of the block split of the config
        reference_source: source of the n-gram model
        seed: of the draw
        mmseqs: path of MMseqs2, or auto
        out: folder to make
        ood_sources: sources whose clusters without others form the out-of-distribution set
        downstream: folders of cleaned test sequences that training must not resemble
    """
    tool = find_mmseqs(mmseqs)
    opened = Pool.open(pool)
    fractions = settings.valid_fraction, settings.reference_fraction
    drawing = Drawing(*fractions, reference_source, list(ood_sources), seed)
    _check(opened, drawing)
    own = settings.min_seq_id, settings.coverage, settings.sensitivity
    criteria = Criteria(*own, PURGE_E_VALUE, PURGE_MAX_SEQS)
    inputs = [dedup / f"{part_name(part.number)}.parquet" for part in opened.parts]
    tests = sorted(path for folder in downstream for path in folder.glob("part-*.fasta"))
    asked = {
        "stage": STAGE_VERSION,
        "clustering": settings.clustering,
        "drawing": asdict(drawing),
        "criteria": asdict(criteria),
        "purge": settings.purge,
        "downstream": [str(folder) for folder in downstream],
        "input": [*pool_state(opened), *map(file_state, [*inputs, *tests])],
    }
    with Steps(out, "split", asked, tool, resources) as steps:
        representative = steps.run(
            "representative.npy", lambda path: _read_representatives(opened, inputs, path)
        )
        clusters = steps.run(
            "clusters.npy", lambda path: _cluster(steps, opened, representative, settings, path)
        )
        outcome = steps.run(
            "assigned.npy", lambda path: assign(opened, representative, clusters, drawing, path)
        )
        purge = Purge(steps, opened, representative, criteria, settings.purge == "cumulative")
        tests_pool = purge.pooled_tests(downstream) if downstream else None
        if tests_pool is not None:
            outcome = purge.drop_downstream(outcome, tests_pool)
        outcome = purge.drop_redundant(purge.drop_held_out(outcome), tests_pool)

        def write(folder: Path) -> None:
            folder.mkdir()
            for split in SPLITS:
                chosen = purge.representatives(outcome, [split])
                if split == TRAIN:
                    chosen = purge.everything(outcome)
                if chosen.count() > 0:
                    chosen.view(view_of(folder, split))
                elif split != OOD or ood_sources:
                    raise DedupError(
                        f"no sequence is left for {split}: raise its fraction (for train, lower "
                        "the others'), or use more sequences or sources"
                    )
            write_tables(opened, representative, clusters, outcome, folder)
            write_json(folder / "tool.json", {"mmseqs": tool.version})

        steps.finish(write)
    # Who asks for these data again without naming test sets means the same ones.
    write_json(out.with_name(KEPT_OUT), [path.name for path in downstream])


def _check(pool: Pool, drawing: Drawing) -> None:
    known = ", ".join(pool.sources)
    for name in [drawing.reference_source, *drawing.ood_sources]:
        if name not in pool.sources:
            raise DedupError(f"source {name!r} is not among the pool's: {known}")
    if set(pool.sources) == set(drawing.ood_sources):
        raise DedupError(f"all sources ({known}) are out of distribution: none is left to train on")


def _read_representatives(pool: Pool, tables: list[Path], out: Path) -> None:
    representative = new_array(out, pool.n_sequences, np.uint32)
    for part, table in zip(pool.parts, tables, strict=True):
        column = read_all(table, ["representative"])["representative"]
        if len(column) != part.n_sequences:
            raise DedupError(
                f"{table} has {len(column)} rows for {part.n_sequences} sequences of the pool; "
                "deduplicate again"
            )
        representative[span(part)] = column.to_numpy()


def _cluster(steps: Steps, pool: Pool, representative: Path, settings: Clusters, out: Path) -> None:
    representative_of = open_array(representative)

    def representatives(part: PoolPart) -> np.ndarray:
        keys = keys_of(part)
        return keys[representative_of[span(part)] == keys]

    chosen = Selection(pool, representatives)
    logger.info("[split] clustering %s representatives", f"{chosen.count():,}")
    method = settings.clustering
    options = ("--min-seq-id", settings.min_seq_id, "-c", settings.coverage, *OPTIONS[method])
    cluster(steps, chosen, method, options, pool.n_sequences, out)
    cluster_of = np.lib.format.open_memmap(out, mode="r+")
    for part in pool.parts:
        cluster_of[span(part)] = cluster_of[representative_of[span(part)]]
