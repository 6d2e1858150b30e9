"""Pairs of runs that differ only in their start: from scratch, and from another objective."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from plm_scaling.common.errors import LawError
from plm_scaling.laws.checks import check_runs
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.noise import noise_of

SAME_SIZE = 0.001  # relative difference of N: the transferred weights come from the same shape
SAME_LENGTH = 0.05  # relative difference of tokens
END_SHARE, MIN_END = 0.02, 5  # evaluations at the end of a curve that make its final loss


@dataclass(frozen=True)
class Curve:
    """Held-out losses (nats/token) at `tokens` seen under the target objective, each (n,)."""

    tokens: Floats = field(default_factory=lambda: np.array([]))
    loss: Floats = field(default_factory=lambda: np.array([]))

    def __post_init__(self) -> None:
        """Raises LawError for losses or tokens that are not positive finite numbers."""
        tokens, loss = check_runs(tokens=self.tokens, loss=self.loss)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "loss", loss)

    def final(self, stated: float) -> tuple[float, float]:
        """Mean of the last evaluations and its standard error; (`stated`, 0) without a curve."""
        if len(self.loss) <= MIN_END:
            return stated, 0.0
        last = self.loss[-max(MIN_END, round(END_SHARE * len(self.loss))) :]
        return float(last.mean()), noise_of(self.loss) / float(np.sqrt(len(last)))


@dataclass(frozen=True)
class TransferPair:
    """One transferred run and its partner from scratch.

    `n_params` non-embedding; `flops` of the target training, `source_flops` of what it started
    from; `loss` and `scratch_loss` final, with their standard errors from evaluation noise.
    """

    run_id: str
    scratch_run_id: str
    source: str
    n_params: float
    tokens: float
    flops: float
    source_flops: float
    loss: float
    loss_error: float
    scratch_loss: float
    scratch_error: float
    curve: Curve
    scratch_curve: Curve


def transfer_points(runs: pd.DataFrame, curves: pd.DataFrame | None) -> list[TransferPair]:
    """The pairs in a table, by rising N: same objective, corpus, recipe, mask ratio, N and
    tokens.

    Of several partners the one with the most similar tokens is taken. Raises LawError if there is
    no pair, or a transferred run does not state `source_flops`.
    """
    valid = {}
    if curves is not None:
        kept = curves[(curves["split"] == "valid") & np.isfinite(curves["loss"])]
        for run_id, part in kept.groupby("run_id"):
            part = part.sort_values("tokens")
            valid[str(run_id)] = Curve(part["tokens"].to_numpy(float), part["loss"].to_numpy(float))
    scratch = runs[runs["init_from"] == ""]
    pairs = []
    for run in runs[runs["init_from"] != ""].to_dict("records"):
        if not run["source_flops"] > 0:
            raise LawError(
                f"run {run['run_id']}, column source_flops: empty in a run that starts from "
                f"'{run['init_from']}'; give the FLOPs of the source run"
            )
        alike = (scratch["n_params"] / run["n_params"] - 1).abs() <= SAME_SIZE
        alike &= (scratch["tokens"] / run["tokens"] - 1).abs() <= SAME_LENGTH
        alike &= scratch["mask_ratio"].fillna(0) == np.nan_to_num(run["mask_ratio"])
        for name in ("objective", "corpus", "recipe"):
            alike &= scratch[name] == run[name]
        if not alike.any():
            continue
        apart = (scratch.loc[alike, "tokens"] / run["tokens"] - 1).abs()
        partner = scratch.loc[apart.idxmin()]
        curve = valid.get(run["run_id"], Curve())
        scratch_curve = valid.get(str(partner["run_id"]), Curve())
        loss, error = curve.final(float(run["loss"]))
        scratch_loss, scratch_error = scratch_curve.final(float(partner["loss"]))
        pairs.append(
            TransferPair(
                run_id=run["run_id"],
                scratch_run_id=str(partner["run_id"]),
                source=run["init_from"],
                n_params=float(run["n_params"]),
                tokens=float(run["tokens"]),
                flops=float(run["flops"]),
                source_flops=float(run["source_flops"]),
                loss=loss,
                loss_error=error,
                scratch_loss=scratch_loss,
                scratch_error=scratch_error,
                curve=curve,
                scratch_curve=scratch_curve,
            )
        )
    if not pairs:
        raise LawError(
            "no transferred run (column init_from) has a partner from scratch of the same "
            "objective, corpus, recipe, n_params and tokens (within 5 %); train such pairs"
        )
    return sorted(pairs, key=lambda pair: (pair.n_params, pair.flops, pair.run_id))
