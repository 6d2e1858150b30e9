"""Assays in ProteinGym's form: a table of assays with their wild types, and a CSV of each in a zip.

The table has the columns DMS_id, DMS_filename, UniProt_ID, target_seq, coarse_selection_type and,
if there is one, DMS_binarization_cutoff. A CSV has mutant (`A24C:D30E`) or mutated_sequence or
both, DMS_score (higher is fitter) and, if there is one, DMS_score_bin; without it a mutant is fit
whose score is at least the cutoff, or the median.
"""

import zipfile
import zlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.blosum62 import BLOSUM62
from plm_scaling.downstream.fitness.alignment import site_independent
from plm_scaling.downstream.fitness.metrics import Classes, Values
from plm_scaling.downstream.fitness.mutants import Change, changes, fitting_offset, mutated
from plm_scaling.tokens.format.vocabulary import STANDARD

LEAST_ITEMS = 10
OF_ASSAY = ["DMS_id", "DMS_filename", "UniProt_ID", "target_seq", "coarse_selection_type"]
DROPPED = ("no target", "wild type", "letters", "duplicate")
_PLACE = {letter: place for place, letter in enumerate(STANDARD)}


def read_reference(path: Path) -> pd.DataFrame:
    """The table of assays. Raises `DownstreamError` for missing columns and bad wild types."""
    table = _table(path, str(path))
    if missing := [name for name in OF_ASSAY if name not in table]:
        raise DownstreamError(f"{path}: no column {missing[0]}; it is no table of assays")
    for number, wild_type in enumerate(table["target_seq"], start=2):
        if strange := sorted(set(str(wild_type)) - set(STANDARD)):
            raise DownstreamError(
                f"{path}, row {number}, column target_seq: {strange[0]!r} is none of the 20 amino "
                "acids; write the one that is meant"
            )
    return table


def read_assays(
    assays: Path,
    reference: pd.DataFrame,
    indels: bool,
    alignments: Mapping[str, Path],
    counts: Counts,
) -> Iterator[tuple[dict[Hashable, Any], pd.DataFrame]]:
    """Each assay of the reference: its row, and its mutants (see `_items`) with the scores of the
    baselines, of substitutions. What is dropped is counted in `counts`."""
    with _opened(assays) as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for row in reference.to_dict("records"):
            file = str(row["DMS_filename"])
            if file not in members:
                raise DownstreamError(f"{assays} has no {file}, which {row['DMS_id']} is in")
            table = _member(archive, members[file], f"{assays}:{file}")
            items = _items(table, row, f"{assays}:{file}", indels, counts)
            if not indels:
                own = [changes(mutant) for mutant in items["mutant"]]
                items["blosum62"] = [_blosum62(one) for one in own]
                if (path := alignments.get(str(row.get("MSA_filename")))) is not None:
                    items["site_independent"] = site_independent(path, row["target_seq"], own)
            yield row, items


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DownstreamError(f"{path} cannot be read as a zip ({error}); get it again") from error


def _member(archive: zipfile.ZipFile, name: str, where: str) -> pd.DataFrame:
    try:
        file = archive.open(name)
    # A damaged header; a method that Python has not; a password.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DownstreamError(f"{where} cannot be read ({error}); get the zip again") from error
    with file:
        return _table(file, where)


def _table(file: Path | IO[bytes], where: str) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    # pandas' own are ValueErrors.
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DownstreamError(
            f"{where} cannot be read as a table ({error}); get it again"
        ) from error


def _numbers(values: "pd.Series[Any]", where: str) -> "pd.Series[float]":
    """Measured scores; NaN where there is none. Raises `DownstreamError` for what is no number."""
    found = pd.to_numeric(values, errors="coerce")
    wrong = np.flatnonzero(found.isna() & values.notna())
    if len(wrong):
        raise DownstreamError(
            f"{where}, row {wrong[0] + 2}, column DMS_score: {values.iloc[wrong[0]]!r} is no "
            "number; correct it, or leave it empty where nothing was measured"
        )
    return found


def _items(
    table: pd.DataFrame, assay: dict[Hashable, Any], where: str, indels: bool, counts: Counts
) -> pd.DataFrame:
    """The mutants that can be scored: mutant, sequence, target, fit.

    Dropped and counted: without a target, the wild type itself, letters that are no amino acid, and
    a sequence that was there already. Raises `DownstreamError` naming the row for what contradicts
    the wild type, and for an assay that is left with too little.
    """
    name, wild_type = assay["DMS_id"], assay["target_seq"]
    if "DMS_score" not in table or not {"mutant", "mutated_sequence"} & set(table):
        raise DownstreamError(
            f"{where}: it needs the columns DMS_score and mutant, as ProteinGym's"
        )
    if indels and "mutated_sequence" not in table:
        raise DownstreamError(f"{where}: no column mutated_sequence, which indels need")
    target = _numbers(table["DMS_score"], where)
    mutants = table["mutant" if "mutant" in table else "mutated_sequence"].astype(str).tolist()
    stated = "mutated_sequence" in table
    sequences = table["mutated_sequence" if stated else "mutant"].astype(str).tolist()
    if not indels:
        sequences = _applied(mutants, sequences if stated else None, wild_type, where)
    reasons: list[int] = []
    seen: set[str] = set()
    for sequence, value in zip(sequences, target, strict=True):
        wrong = (
            not np.isfinite(value),
            sequence == wild_type,
            not _PLACE.keys() >= set(sequence),
            sequence in seen,
        )
        reasons.append(wrong.index(True) if True in wrong else len(DROPPED))
        if True not in wrong:
            seen.add(sequence)
    lengths = np.array([len(sequence) for sequence in sequences])
    counts.tally(name, [*DROPPED, "kept"], np.array(reasons, int), lengths)
    kept = np.array(reasons) == len(DROPPED)
    items = pd.DataFrame({"mutant": mutants, "sequence": sequences, "target": target})[kept]
    if len(items) < LEAST_ITEMS:
        raise DownstreamError(
            f"{where}: {len(items)} mutants of {len(table)} can be scored, an assay needs "
            f"{LEAST_ITEMS}; correct the file or take the assay out of the table"
        )
    values = items["target"].to_numpy(float)
    if (values == values[0]).all():
        raise DownstreamError(
            f"{where}, column DMS_score: all mutants have {values[0]:g}; nothing can be ranked"
        )
    return items.assign(fit=_fit(table[kept], values, assay.get("DMS_binarization_cutoff")))


def _applied(mutants: list[str], given: list[str] | None, wild_type: str, where: str) -> list[str]:
    """The sequences of mutants; raises if one does not follow from the wild type, or is not the
    one that is given."""
    made = []
    for number, mutant in enumerate(mutants, start=2):
        try:
            own = mutated(wild_type, changes(mutant))
        except DownstreamError as error:
            raise DownstreamError(
                f"{where}, row {number}: {error}{_remedy(mutants, wild_type)}"
            ) from error
        if given is not None and given[number - 2] != own:
            raise DownstreamError(
                f"{where}, row {number}: mutated_sequence is not the wild type with {mutant}; "
                "correct one of the two, or the target_seq of the assay"
            )
        made.append(own)
    return made


def _remedy(mutants: list[str], wild_type: str) -> str:
    """What could be done about mutants that do not fit the wild type."""
    try:
        own = [change for mutant in mutants for change in changes(mutant)]
    except DownstreamError:
        return ""
    offset = fitting_offset(wild_type, own)
    if offset is None:
        return "; correct the wild type (target_seq) or the mutants"
    return f"; all mutants fit with {offset:+d} added to their positions: correct these"


def _fit(table: pd.DataFrame, values: Values, cutoff: float | None) -> Classes:
    if "DMS_score_bin" in table:
        return table["DMS_score_bin"].to_numpy(float) > 0
    if cutoff is None or not np.isfinite(cutoff):
        cutoff = float(np.median(values))
    return values >= cutoff


def _blosum62(own: list[Change]) -> float:
    """The sum over the changes."""
    return float(sum(BLOSUM62[_PLACE[wild], _PLACE[mutant]] for wild, _, mutant in own))
