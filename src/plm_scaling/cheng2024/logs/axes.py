"""From a logged x-axis to optimizer steps and tokens, and the N that the axis was computed with.

The study evaluates every 300 steps (its token axes show it), so the spacing of a curve's points is
known: 300·batch·1024 tokens, or 6·N times that in FLOPs. A FLOPs axis therefore gives N to its last
digit, whatever the file's name.
"""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from plm_scaling.cheng2024.logs.names import Named
from plm_scaling.cheng2024.logs.sizes import SIZES, Size
from plm_scaling.common.errors import RunsError
from plm_scaling.common.progress import many

CONTEXT = 1024  # tokens per row of a batch
STEPS_PER_EVALUATION = 300
BATCH_ROWS = (256, 512, 1024)
LARGE_PARAMETERS = 1e9  # 1024 rows from here, 512 below, unless the name has the batch
SAME_N = 1e-6  # the axis is rounded to GFLOPs: 2e-7 of a spacing at the smallest size
SAME_STEP = 0.02  # of a step
HIGHEST_LOSS = 4.0  # nats/token; ln 33 = 3.5 is a guess among all symbols
TOO_FEW_POINTS = 5

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """`tokens` and `steps` of the points `kept`; `logged` is the model that the axis's N is of.

    `logged` is None where the axis gives no N, or one that no model has: `logged_n`.
    `off_grid` is true where the last evaluation is at no multiple of 300 steps: it closes its run.
    """

    kept: NDArray[np.bool_]
    steps: Integers
    tokens: Integers
    batch_rows: int
    logged: Size | None
    logged_n: float | None
    off_grid: bool
    notes: tuple[str, ...]


def read_points(path: str, content: bytes) -> tuple[Floats, Floats]:
    """The columns Step and Value of one log.

    Raises RunsError naming the file unless both are finite and Step rises.
    """
    try:
        table = pd.read_csv(io.BytesIO(content), dtype=float)
    except ValueError as error:
        raise RunsError(f"{path}: not a table of numbers ({error}); fetch it again") from error
    if list(table.columns) != ["Wall time", "Step", "Value"]:
        raise RunsError(f"{path}: columns are {list(table.columns)}; expected Wall time,Step,Value")
    x, y = table["Step"].to_numpy(), table["Value"].to_numpy()
    if len(x) < TOO_FEW_POINTS or not np.isfinite([x, y]).all() or (np.diff(x) <= 0).any():
        raise RunsError(
            f"{path}: needs at least {TOO_FEW_POINTS} points with rising Step and finite Value"
        )
    return x, y


def loss_of(named: Named, value: Floats) -> Floats:
    """The values as losses in nats/token: the logarithm where they are perplexities.

    Raises RunsError where name and level of the values disagree on which they are.
    """
    if named.perplexity != (np.median(value) > HIGHEST_LOSS):
        kind = "perplexities" if named.perplexity else "losses"
        raise RunsError(
            f"{named.path}: its name says {kind}, but their median is {np.median(value):.3g}; "
            "correct the pattern in cheng2024/logs/names.py"
        )
    return np.log(value) if named.perplexity else value


def read_axis(named: Named, size: Size, x: Floats) -> Axis:
    """Steps and tokens of the x-values of a file; `size` is the model in its name.

    Raises RunsError naming the file where points lie between the steps.
    """
    interval = float(np.median(np.diff(x)))
    logged, logged_n = None, None
    if named.split == "train":  # logged at any step, so only the name tells N and batch
        batch_rows = named.batch_rows or usual_batch_rows(size)
        tokens = _tokens_of_training(named, size, x)
    elif named.axis == "gflops":
        logged, batch_rows = _match(named, size, interval)
        per_evaluation = STEPS_PER_EVALUATION * batch_rows * CONTEXT
        logged_n = float(logged.n_params) if logged else interval * 1e9 / (6 * per_evaluation)
        tokens = x * 1e9 / (6 * logged_n)
    elif named.axis == "tokens":
        batch_rows = round(interval / (STEPS_PER_EVALUATION * CONTEXT))
        tokens = x
    else:
        batch_rows = 512  # not logged; with it the losses lie among the IsoFLOP runs
        tokens = x * batch_rows * CONTEXT
    exact = tokens / (batch_rows * CONTEXT)
    kept, notes = _without_false_start(named, exact)
    steps = np.rint(exact[kept]).astype(np.int64)
    if batch_rows not in BATCH_ROWS or (np.abs(exact[kept] - steps) > SAME_STEP).any():
        raise RunsError(
            f"{named.path}: its points lie between the steps of a batch of {batch_rows} rows; the "
            "axis is not what its name says"
        )
    off_grid = named.split == "valid" and steps[-1] % STEPS_PER_EVALUATION != 0
    return Axis(
        kept, steps, steps * batch_rows * CONTEXT, batch_rows, logged, logged_n, bool(off_grid),
        notes,
    )  # fmt: skip


def usual_batch_rows(size: Size) -> int:
    """Rows per step where neither name nor axis has them: 512 below 1B parameters, else 1024."""
    return 1024 if size.n_params >= LARGE_PARAMETERS else 512


def _match(named: Named, size: Size, interval: float) -> tuple[Size | None, int]:
    """The model and batch whose spacing in GFLOPs is `interval`: the named model if it fits."""
    for batch_rows in BATCH_ROWS:
        n_params = interval * 1e9 / (6 * STEPS_PER_EVALUATION * batch_rows * CONTEXT)
        if abs(n_params / size.n_params - 1) < SAME_N:
            return size, batch_rows
    batch_rows = named.batch_rows or usual_batch_rows(size)
    n_params = interval * 1e9 / (6 * STEPS_PER_EVALUATION * batch_rows * CONTEXT)
    for other in SIZES.values():
        if other.exact and abs(n_params / other.n_params - 1) < SAME_N:
            return other, batch_rows
    return None, batch_rows


def _tokens_of_training(named: Named, size: Size, x: Floats) -> Floats:
    if named.axis == "gflops":
        return x * 1e9 / (6 * size.n_params)
    return x * CONTEXT if named.axis == "samples" else x


def _without_false_start(named: Named, exact: Floats) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which points to keep: all but leading ones that lie on no evaluation of this model.

    Such points are left from a start with another model: their FLOPs are those of its step 300.
    """
    kept = np.ones(len(exact), dtype=bool)
    if named.split == "train" or named.axis != "gflops":
        return kept, ()
    evaluation = exact / STEPS_PER_EVALUATION
    on_grid = np.abs(evaluation - np.rint(evaluation)) * STEPS_PER_EVALUATION < SAME_STEP
    first = int(on_grid.argmax())
    kept[:first] = False
    return kept, (f"{many(first, 'first point')} of another model dropped",) if first else ()
