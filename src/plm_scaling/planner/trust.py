"""How far a plan can be trusted: what is a guess, what is only warned of, what is refused."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.status import Check, Status
from plm_scaling.planner.case import Case
from plm_scaling.planner.laws import Laws
from plm_scaling.planner.solve import Run

REFUSED = 1e4  # factor beyond the budgets fitted
NEAR = 1.01  # budgets and epochs are met to within this
RESIDUES = 20  # STANDARD of `tokens.vocabulary`, which takes longer to import than a plan to make
UNIFORM_GUESS = math.log(RESIDUES)  # nats/token of a model that knows nothing
SAME_TOKENS = 1.1  # D_opt of the law and C/(6·N_opt) differ by no more where C is 6·N·D


class HeldOut(NamedTuple):
    """How a law without its largest compute predicts it."""

    factor: float
    """By how much it lies beyond the rest."""
    error_nats: float
    """Predicted − measured."""
    allowed_nats: float
    """What the law allows for: by its evidence, or the half-width of its interval there."""

    @property
    def words(self) -> str:
        """How it came out."""
        return (
            f"at {self.factor:.3g} times the compute of the rest was {abs(self.error_nats):.3f} "
            f"nats too {'high' if self.error_nats > 0 else 'low'}, "
            f"{'within' if self.passed else 'outside'} the interval"
        )

    @property
    def passed(self) -> bool:
        """Whether the law's interval allows for it."""
        return abs(self.error_nats) <= self.allowed_nats


@dataclass
class Trust:
    """What is said about a plan: guesses first, warnings last."""

    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case) -> "Trust":
        """Raises LawError where the laws say nothing of the run."""
        said = [
            _of_law(case.laws),
            of_reach(case.laws, case.run.flops),
            _of_shape(case.laws, case.run),
            _of_repeats(case),
        ]
        return cls(
            [g for one in said for g in one.guesses], [w for one in said for w in one.warnings]
        )


def held_out(laws: Laws) -> HeldOut | None:
    """The held-out prediction of the law, None where none was made."""
    check = laws.optima.details.get("held_out") or {"status": Check.NOT_AVAILABLE}
    if check["status"] != Check.DONE:
        return None
    at, loss = check["predicted_at_flops"], check["loss"]
    interval = laws.optimal_loss(at).interval
    limit = laws.optima.evidence.get("held_out")
    if limit is not None:
        allowed = limit["allowed"]
    else:
        allowed = 0.0 if interval is None else (interval[1] - interval[0]) / 2
    error = loss["difference"] if "difference" in loss else loss["mean_error"]
    return HeldOut(at / max(check["fitted_on_flops"]), error, allowed)


def _of_law(laws: Laws) -> Trust:
    """What the law's own status says."""
    law, trust = laws.optima, Trust()
    if law.status != Status.CONVERGED:
        why = "a line through two minima, which nothing checks"
        if law.status != Status.TWO_POINTS:
            why = law.warnings[-1] if law.warnings else "see its file"
        trust.guesses.append(f"the {law.law} law is {law.status} ({why})")
    k, b = (law.equations["D"].parameters[name] or np.nan for name in ("k", "b"))
    for flops in laws.fitted:
        own = k * flops**b
        tokens = flops / (6 * laws.size(flops).value)
        if own / tokens > SAME_TOKENS or tokens / own > SAME_TOKENS:
            trust.warnings.append(
                f"the runs' compute is not 6·N·D: their own D_opt at {flops:.3g} FLOPs is "
                f"{own / tokens:.3g} times the C/(6·N) that this plan takes"
            )
            break
    return trust


def of_reach(laws: Laws, flops: float) -> Trust:
    """What holds of a law at `flops`, perhaps beyond its budgets; raises LawError where far off.

    As far as the held-out prediction reached, if that came out within the law's interval, an
    extrapolation is only warned of; beyond, it is a guess.
    """
    low, high = laws.fitted
    factor = max(low / flops, flops / high)
    if factor <= NEAR:
        return Trust()
    side = "above the largest" if flops > high else "below the smallest"
    what = (
        f"{flops:.3g} FLOPs lie {factor:.3g} times {side} budget that was fitted ({low:.3g} to "
        f"{high:.3g})"
    )
    if factor > REFUSED * NEAR:
        raise LawError(
            f"{what}; beyond {REFUSED:,.0f} times a power law says nothing: give the laws of runs "
            "nearer to it (--laws)"
        )
    check = held_out(laws)
    tested = "no held-out prediction checks the law"
    if check is not None:
        tested = f"a held-out prediction {check.words}"
        if check.passed and factor <= check.factor * NEAR:
            return Trust(warnings=[f"extrapolated: {what}; {tested}"])
    bends = "the interval does not cover a law that bends"
    return Trust(guesses=[f"{what}, and {tested}"], warnings=[f"extrapolated: {bends}"])


def _of_shape(laws: Laws, run: Run) -> Trust:
    """Whether runs as far off the optimum as this one were fitted."""
    runs = laws.optima.runs
    if not runs or laws.optima.law == "frontier":  # whose runs pass through many N·D
        return Trust()
    n, tokens = (np.array([r[name] for r in runs], float) for name in ("n_params", "tokens"))
    ratios = n / laws.surface.size(6 * n * tokens)
    ratio = run.n_params / float(laws.surface.size(run.flops))
    if ratios.min() / NEAR <= ratio <= ratios.max() * NEAR:
        return Trust()
    what = (
        f"the size is {ratio:.3g} times the optimum of its compute, and the runs that were fitted "
        f"reach from {ratios.min():.2g} to {ratios.max():.2g} times"
    )
    return Trust(guesses=[what])


def _of_repeats(case: Case) -> Trust:
    """What is known of the repeats of the run."""
    laws, repeats = case.laws, case.repeats
    if case.run.tokens <= repeats.unique or repeats.known:
        return Trust()
    epochs = f"{repeats.epochs(case.run.tokens):.3g} epochs"
    law = laws.other("repeated")
    if law is None:
        warning = f"{epochs}, and there is no law of repeated tokens"
        return Trust(warnings=[f"{warning}: size and loss are those of fresh tokens"])
    why = law.warnings[0] if law.warnings else "it has no number"
    return Trust(
        guesses=[f"what the repeated tokens of {epochs} are worth is not known"],
        warnings=[
            f"{epochs}, and the {laws.objective} runs do not say what repeated tokens are worth: "
            f"size and loss are those of fresh tokens, and the loss will be higher ({law.status}: "
            f"{why})"
        ],
    )


def check_loss(loss: float) -> None:
    """Raises LawError where the loss is above that of a uniform guess."""
    if loss > UNIFORM_GUESS:
        raise LawError(
            f"the loss of such a run would be {loss:.3g} nats/token by the laws, above the "
            f"{UNIFORM_GUESS:.3g} (ln {RESIDUES}) of a uniform guess over the residues: they do "
            "not hold here; ask for more compute or give more unique tokens"
        )


def how_sure(laws: Laws) -> str:
    """One line on what the law rests on and what checks it."""
    law, (low, high) = laws.optima, laws.fitted
    used = f"{law.n_points} runs"
    if law.selection is not None:
        used = f"{law.selection['used']} of {law.selection['given']} runs"
    said = f"{law.law} law {law.status}, {used}, {low:.2g} to {high:.2g} FLOPs"
    check = held_out(laws)
    if check is None:
        return f"{said}; no held-out prediction checks it"
    return f"{said}; a held-out prediction {check.words}"
