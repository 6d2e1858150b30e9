"""The row of a run: facts from its corrected curve, and why it may be left out."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from plm_scaling.cheng2024.logs.gather import LoggedRun

UNIQUE_TOKENS = {"unimeta200b": 200e9, "ur50": 15.4e9}
EPOCH_TOKENS = UNIQUE_TOKENS["unimeta200b"]  # what `allXep` in a name counts, for both corpora
FINAL_EVALUATIONS = 5
FINISHED = 0.97  # of the plan; budgets in names are rounded, and a last evaluation may be missing
NOMINAL_FLOPS = 0.03  # relative; a larger difference from the named budget is noted
EPOCH_LABEL = (0.006, 0.1)  # absolute (labels have two decimals) and relative
MASK_RATIO = 0.15


def run_row(run: LoggedRun, seed: int) -> dict[str, Any]:
    """The columns of `runs.csv` for one run; None where a value is unknown."""
    curve, objective = run.curve, run.curve.named.objective
    finished, excluded = _finished(run)
    source, source_flops = run.source
    last = curve.loss[-FINAL_EVALUATIONS:]
    return {
        "run_id": run_id(run),
        "objective": objective,
        "corpus": run.corpus,
        "recipe": "study",
        "size": curve.size.name,
        "n_params": curve.size.n_params,
        "n_params_total": curve.size.n_params_total,
        "tokens": int(curve.tokens[-1]),
        "unique_tokens": int(UNIQUE_TOKENS[run.corpus]),
        "flops": float(curve.flops[-1]),
        "loss": float(np.mean(last)) if finished else None,
        "loss_last": float(last[-1]),
        "n_evals": len(curve.loss),
        "mask_ratio": curve.named.mask_ratio or MASK_RATIO if objective == "mlm" else None,
        "masking": None,  # the study states only the ratio (docs/files.md)
        "init_from": f"{source}:{source_flops:g}" if source else "",
        "source_flops": source_flops,
        "seed": seed,
        "status": "finished" if finished else "unfinished",
        "excluded": excluded,
        "source_file": curve.named.path,
        "experiment": experiment(run),
        "notes": "; ".join(_notes(run)),
    }


def run_id(run: LoggedRun) -> str:
    """Readable and unique: objective, size, what is special, FLOPs, start of the file's SHA-256."""
    curve = run.curve
    special = [
        f"from-{run.source[0]}" if run.source[0] else "",
        "ur50" if run.corpus == "ur50" else "",
        run.data_order,
        f"mask{curve.named.mask_ratio:g}" if curve.named.mask_ratio else "",
    ]
    flops = f"{curve.flops[-1]:.1e}".replace("e+", "e").replace(".0e", "e")
    parts = [curve.named.objective, curve.size.name, *filter(None, special), flops]
    return "-".join([*parts, curve.sha256[:6]])


def experiment(run: LoggedRun) -> str:
    """The purpose of the run: that of the first of its folders that has one."""
    groups = {curve.named.group for curve in run.files}
    if "mask_ratio" in groups:
        return "mask_ratio"
    if run.source[0]:
        return "transfer"
    if run.corpus == "ur50":
        return "repeated"
    if "sweep" in groups:
        beyond_an_epoch = run.curve.named.flops is None and (_epochs(run) or 0) > 1
        return "production" if beyond_an_epoch else "isoflop"
    return "repeated" if "repeated" in groups else "transfer_scratch"


def seeds(runs: Sequence[LoggedRun]) -> list[int]:
    """1, and 2 and more for runs of the same facts as one before."""
    seen: dict[tuple[object, ...], int] = defaultdict(int)
    result = []
    for run in runs:
        curve = run.curve
        facts = (
            curve.named.objective, curve.size.name, run.corpus, run.source, run.data_order,
            curve.named.mask_ratio, curve.axis.batch_rows, round(int(curve.tokens[-1]), -8),
        )  # fmt: skip
        seen[facts] += 1
        result.append(seen[facts])
    return result


def _finished(run: LoggedRun) -> tuple[bool, str]:
    """Whether the run reached its planned end, and if not the reason to leave it out.

    It did if it has the planned tokens, or if its last evaluation is not a whole interval after
    the one before: evaluations off the 300-step grid happen at a run's last step only.
    """
    share = _share_of_plan(run)
    if run.curve.axis.off_grid or (share is not None and share >= FINISHED):
        return True, ""
    if share is None:
        return False, "neither its name nor its last evaluation says that it is finished"
    return False, f"unfinished: stopped at {share:.0%} of the planned tokens"


def _share_of_plan(run: LoggedRun) -> float | None:
    tokens = int(run.curve.tokens[-1])
    flops = _first(curve.named.flops for curve in run.files)
    if flops is not None:
        return 6.0 * run.curve.size.n_params * tokens / flops
    epochs = _epochs(run)
    return None if epochs is None else tokens / (epochs * EPOCH_TOKENS)


def _epochs(run: LoggedRun) -> float | None:
    return _first(curve.named.epochs for curve in run.files)


def _first(values: Any) -> float | None:
    return next((value for value in values if value is not None), None)


def _notes(run: LoggedRun) -> list[str]:
    """What was corrected, and what a reader of the row should know."""
    curve, notes = run.curve, list(run.curve.notes)
    if not curve.size.exact:
        notes.append("N from the name: no file of this model logs FLOPs")
    if curve.named.group == "mask_ratio":
        notes.append("batch not logged: 512 rows taken, as the losses fit the IsoFLOP runs then")
    if run.data_order:
        notes.append(f"data order: {run.data_order.replace('-', ' ')}")
    notes += _off_budget(run)
    if curve.named.skipped_by_notebook:
        notes.append("skipped by the study's notebook ('dep-' before its name)")
    return notes


def _off_budget(run: LoggedRun) -> list[str]:
    """Where a run that was not cut short missed the FLOPs or the epochs of its name."""
    if not run.curve.axis.off_grid:
        return []
    share, epochs = _share_of_plan(run), _epochs(run)
    flops = _first(curve.named.flops for curve in run.files)
    trained = int(run.curve.tokens[-1]) / EPOCH_TOKENS
    notes = []
    if flops and share and abs(share - 1) > NOMINAL_FLOPS:
        notes.append(f"trained {run.curve.flops[-1]:.4g} FLOPs, its name says {flops:g}")
    if epochs and abs(trained - epochs) > EPOCH_LABEL[0] + EPOCH_LABEL[1] * epochs:
        notes.append(f"trained {trained:.2f} epochs of 200e9 tokens, its name says {epochs:g}")
    return notes
