"""The tables of this stage: `runs.csv`, `curves.parquet`, and the cells' `curve.csv`."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.errors import RunsError
from plm_scaling.common.files import atomic
from plm_scaling.common.progress import many

OBJECTIVES = ("clm", "mlm")
ANY_OBJECTIVE = "any"  # of runs in a table that does not say
STATUSES = ("finished", "unfinished", "diverged")
RUN_COLUMNS = (
    *("run_id", "objective", "corpus", "recipe", "size", "n_params", "n_params_total"),
    *("tokens", "unique_tokens", "flops", "loss", "loss_last", "n_evals", "mask_ratio"),
    *("masking", "init_from", "source_flops", "seed", "status", "excluded", "source_file"),
)
# How a run was trained, as far as studies vary it; tables of others, and of earlier versions, need
# not say.
SETTING_COLUMNS = (
    *("part", "batch_tokens", "peak_learning_rate", "weight_decay", "steps", "warmup_steps"),
)
TEXT_COLUMNS = (
    *("run_id", "objective", "corpus", "recipe", "size"),
    *("masking", "init_from", "status", "excluded", "source_file", "part"),
)
MAY_BE_ZERO = ("n_evals", "seed", "weight_decay", "steps", "warmup_steps")
NEEDED_WHEN_FINISHED = ("n_params", "tokens", "flops", "loss")
EMPTY_IN_FINISHED = (
    "is empty in a finished run; give the number, or state in `excluded` why the run cannot be used"
)
NO_TABLE = "no such table of runs; make it with `snakemake laws` or give the path of your own"
NO_RUN = "the table has a header and no run; train cells first"
REMAKE = "make it again with `snakemake laws`"
CURVE_SPLIT = "train|(valid|ood)(/.+)?"  # valid/{source}: the held-out rows of one source
CURVE_SCHEMA = pa.schema(
    {
        "run_id": pa.string(),
        "step": pa.int64(),
        "tokens": pa.int64(),
        "flops": pa.float64(),
        "split": pa.string(),
        "loss": pa.float64(),
    }
)
CURVE_COLUMNS = CURVE_SCHEMA.names[1:]  # of one cell's curve.csv


def read_runs(path: Path) -> pd.DataFrame:
    """Read and check our table of runs (docs/files.md); `own_tables.read_table` reads anybody's.

    Text columns are strings ('' where empty), the others float64 (NaN where empty); columns that
    the format does not know are left out. A finished run that is not excluded must have
    `n_params`, `tokens`, `flops` and `loss`. Raises RunsError naming the line and the column.
    """
    if not path.is_file():
        raise RunsError(f"{path}: {NO_TABLE}")
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # of the parser, of decoding
        raise RunsError(f"{path}: not a CSV table ({str(error).strip()})") from error
    optional = ("masking", *SETTING_COLUMNS)  # tables of earlier versions have none
    needed = [name for name in RUN_COLUMNS if name not in optional]
    require_columns(
        path, raw.columns, needed, f"the header must hold {', '.join(needed)} (cells may be empty)"
    )
    if raw.empty:
        raise RunsError(f"{path}: {NO_RUN}")
    columns = [*RUN_COLUMNS, *SETTING_COLUMNS]
    table = raw.reindex(columns=columns, fill_value="")
    for name in set(columns) - set(TEXT_COLUMNS):
        table[name] = numbers(path, table[name], name, name in MAY_BE_ZERO)
    check_rows(path, table)
    for row, run in zip(table.index, table.to_dict("records"), strict=True):
        if run["status"] == "finished" and not run["excluded"]:
            for name in NEEDED_WHEN_FINISHED:
                if math.isnan(run[name]):
                    raise bad_cell(path, row, name, "", EMPTY_IN_FINISHED)
    return table


def require_columns(path: Path, present: Iterable[str], needed: Iterable[str], fix: str) -> None:
    """Raise RunsError naming the `needed` columns that the table at `path` lacks, and the `fix`."""
    if missing := [name for name in needed if name not in present]:
        raise RunsError(
            f"{path}: {many(len(missing), 'column')} missing: {', '.join(missing)}; {fix}"
        )


def numbers(
    source: Path | str, column: "pd.Series[str]", name: str, may_be_zero: bool
) -> "pd.Series[float]":
    """One column as float64; empty is NaN, anything else must be positive and finite."""
    values = []
    for row, text in zip(column.index, column, strict=True):
        try:
            value = float(text) if text.strip() else math.nan
        except ValueError:
            raise bad_cell(source, row, name, text, "is not a number") from None
        usable = 0 < value < math.inf or (value == 0 and may_be_zero)
        if text.strip() and not usable:
            problem = "must be positive and finite; leave it empty if the value is unknown"
            raise bad_cell(source, row, name, text, problem)
        values.append(value)
    return pd.Series(values, index=column.index, dtype="float64")


def check_rows(source: Path | str, table: pd.DataFrame) -> None:
    """Raise RunsError naming the line of an objective, status or run_id that cannot be."""
    first_rows: dict[str, int] = {}
    for row, run in zip(table.index, table.to_dict("records"), strict=True):
        for name, allowed in (("objective", (*OBJECTIVES, ANY_OBJECTIVE)), ("status", STATUSES)):
            if run[name] not in allowed:
                problem = f"must be one of {', '.join(allowed)}"
                raise bad_cell(source, row, name, run[name], problem)
        if not run["run_id"]:
            raise bad_cell(source, row, "run_id", "", "is empty; name every run")
        if (first := first_rows.setdefault(run["run_id"], row)) != row:
            problem = f"is also on line {first + 2}; names must differ"
            raise bad_cell(source, row, "run_id", run["run_id"], problem)


def bad_cell(source: Path | str, row: Any, column: str, text: str, problem: str) -> RunsError:
    """The error of a cell in `row`, counted from the first below the header."""
    return RunsError(f"{source}, line {row + 2}, column {column}: '{text}' {problem}")


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV with exactly these columns of `rows`; None becomes an empty cell."""
    cells = [["" if row[name] is None else row[name] for name in columns] for row in rows]
    table = pd.DataFrame(cells, columns=list(columns), dtype=object)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def final_losses(curve: pd.DataFrame, held_out: str, final_evaluations: int) -> pd.Series:
    """The last `final_evaluations` losses (nats/token) of a cell's curve on a held-out set. Their
    mean is the cell's loss, in runs.csv, evaluations.csv and scores.csv alike."""
    return curve.loc[curve["split"] == held_out, "loss"].iloc[-final_evaluations:]


def read_cell_curve(path: Path) -> pd.DataFrame:
    """Read a cell's `curve.csv`: step, tokens, flops, split (train|valid), loss in nats/token.

    A last line without its line end is still being written and left out. A loss of `nan` or `inf`
    stays as such: it is how a diverged cell looks. Raises RunsError naming file and line.
    """
    text = path.read_text(errors="replace")
    text = text[: text.rfind("\n") + 1]
    if not text:
        raise RunsError(f"{path}: empty curve; remove the cell's folder and train it again")
    try:
        curve = pd.read_csv(io.StringIO(text))
    except ValueError as error:  # pandas' own errors are of this kind
        problem = f"not a table ({str(error).strip()}); train the cell again"
        raise RunsError(f"{path}: {problem}") from error
    require_columns(path, curve.columns, CURVE_COLUMNS, "train the cell again")
    for name in CURVE_COLUMNS:
        given = curve[name]
        if name == "split":
            bad = ~given.astype(str).str.fullmatch(CURVE_SPLIT)
        else:
            curve[name] = pd.to_numeric(given, errors="coerce")
            bad = curve[name].isna() if name != "loss" else curve[name].isna() & given.notna()
        if bad.any():
            row = int(bad.to_numpy().argmax())
            raise RunsError(
                f"{path}, line {row + 2}, column {name}: unusable value '{given.iloc[row]}'; "
                "train the cell again"
            )
    return curve[list(CURVE_COLUMNS)]


def write_curves(path: Path, curves: Mapping[str, pd.DataFrame]) -> None:
    """Write all curves into one Parquet file; a non-finite loss becomes null."""
    parts = [
        pa.Table.from_pandas(
            curve.assign(run_id=run_id, loss=curve["loss"].where(np.isfinite(curve["loss"]))),
            schema=CURVE_SCHEMA,
            preserve_index=False,
        ).replace_schema_metadata()
        for run_id, curve in curves.items()
    ]
    with atomic(path) as temporary:
        pq.write_table(pa.concat_tables(parts or [CURVE_SCHEMA.empty_table()]), temporary)


def read_curves(path: Path) -> pd.DataFrame:
    """Read curves.parquet; raises RunsError if it is missing or lacks a column."""
    if not path.is_file():
        raise RunsError(f"{path}: no such table of curves; make it with `snakemake laws`")
    try:
        columns = pq.read_schema(path).names
    except pa.ArrowInvalid as error:
        raise RunsError(f"{path}: not a Parquet table ({error}); {REMAKE}") from error
    require_columns(path, columns, CURVE_SCHEMA.names, REMAKE)
    return pd.read_parquet(path, columns=CURVE_SCHEMA.names)
