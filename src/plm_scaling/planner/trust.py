"""How far a plan can be trusted: what is a guess, what is only warned of, what is refused."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.stats.intervals import Interval
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
    allowed_nats: float | None
    """What the law allows for: by its evidence, or the half-width of its interval there; None where
    it has none."""

    @property
    def words(self) -> str:
        """How it came out."""
        against = f"{'within' if self.passed else 'outside'} the interval"
        if self.allowed_nats is None:
            against = "with no interval to judge it by"
        return (
            f"at {self.factor:.3g} times the compute of the rest was {abs(self.error_nats):.3f} "
            f"nats too {'high' if self.error_nats > 0 else 'low'}, {against}"
        )

    @property
    def side(self) -> str:
        """Where the measured loss lies."""
        return "lower" if self.error_nats > 0 else "higher"

    @property
    def passed(self) -> bool:
        """Whether the law's interval allows for it."""
        return self.allowed_nats is not None and abs(self.error_nats) <= self.allowed_nats


@dataclass
class Trust:
    """What is said about a plan: guesses first, warnings last."""

    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case) -> "Trust":
        """Raises LawError where the laws say nothing of the run."""
        said = [
            of_law(case.laws),
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
    allowed = None if interval is None else (interval[1] - interval[0]) / 2
    if limit is not None:
        allowed = limit["allowed"]
    error = loss["difference"] if "difference" in loss else loss["mean_error"]
    return HeldOut(at / max(check["fitted_on_flops"]), error, allowed)


def of_law(laws: Laws) -> Trust:
    """What the law's own status says."""
    law, trust = laws.optima, Trust()
    if law.status != Status.CONVERGED:
        trust.guesses.append(f"the {law.law} law is {_words(law.status)}{_briefly(laws)}")
    elif law.equations["N"].interval["a"] is None:
        trust.guesses.append(f"the {law.law} law has no interval, so nothing says how sure it is")
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


def _briefly(laws: Laws) -> str:
    """Why the law is not converged, in a few words; `how_sure` has the sentence."""
    law = laws.optima
    a = law.equations["N"].interval["a"]
    if law.status == Status.TWO_POINTS:
        return " (a line through two minima, which nothing checks)"
    if _failed(laws):
        return " (its held-out prediction failed)"
    if law.status == Status.NOT_IDENTIFIED and a is not None:
        return f" (N grows as C^{a[0]:.2f} to C^{a[1]:.2f})"
    return ""


def _failed(laws: Laws) -> bool:
    """Whether the law is contradicted by its held-out prediction."""
    check = held_out(laws)
    return laws.optima.status == Status.CONTRADICTED and check is not None and not check.passed


def _words(status: Status) -> str:
    return status.replace("_", " ")


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
    what = f"{flops:.3g} FLOPs lie {factor:.3g} times {side} budget that was fitted"
    if factor > REFUSED * NEAR:
        raise LawError(
            f"{what} ({low:.3g} to {high:.3g}); beyond {REFUSED:,.0f} times a power law says "
            "nothing: give the laws of runs nearer to it (--laws)"
        )
    check = held_out(laws)
    bends = "extrapolated: the interval does not cover a law that bends"
    if check is None:
        return Trust([f"{what}, which no held-out prediction checks"], [bends])
    if not check.passed:
        tested = ", and the held-out prediction failed"
        if _failed(laws) or check.allowed_nats is None:
            tested = ""
        found = (
            f"the held-out loss was {abs(check.error_nats):.3f} nats {check.side} than predicted"
        )
        return Trust([what + tested], [f"{bends}, and {found}"])
    if factor <= check.factor * NEAR:
        return Trust(warnings=[f"extrapolated: {what}; a held-out prediction {check.words}"])
    return Trust(
        [f"{what}, and the held-out prediction reached only {check.factor:.3g} times"], [bends]
    )


def _of_shape(laws: Laws, run: Run) -> Trust:
    """Whether runs as far off the optimum as this one were fitted."""
    ratios = fitted_ratios(laws)
    ratio = run.n_params / float(laws.surface.size(run.flops))
    if ratios is None or ratios[0] / NEAR <= ratio <= ratios[1] * NEAR:
        return Trust()
    what = (
        f"the size is {ratio:.3g} times the optimum of its compute, and the runs that were fitted "
        f"reach from {ratios[0]:.2g} to {ratios[1]:.2g} times"
    )
    return Trust(guesses=[what])


def fitted_ratios(laws: Laws) -> Interval | None:
    """The least and the most N of a run that was fitted, in optima of its compute."""
    runs = laws.optima.runs
    if not runs or laws.optima.law == "frontier":  # whose runs pass through many N·D
        return None
    n, tokens = (np.array([r[name] for r in runs], float) for name in ("n_params", "tokens"))
    ratios = n / laws.surface.size(6 * n * tokens)
    return float(ratios.min()), float(ratios.max())


def _of_repeats(case: Case) -> Trust:
    """What is known of the repeats of the run."""
    laws, repeats = case.laws, case.repeats
    if case.run.tokens <= repeats.unique:
        return Trust()
    epochs = f"{repeats.epochs(case.run.tokens):.3g} epochs"
    law = laws.other("repeated")
    if law is not None and repeats.known:
        if law.status == Status.CONVERGED:
            return Trust()
        said = f"the law of repeats, which counts the {epochs}, is {_words(law.status)}"
        return Trust(guesses=[said], warnings=[f"{said}: {law.reason}"])
    if law is None:
        warning = f"{epochs}, and there is no law of repeated tokens"
        return Trust(warnings=[f"{warning}: size and loss are those of fresh tokens"])
    why = law.warnings[0] if law.warnings else "it has no number"
    return Trust(
        guesses=[f"what the repeated tokens of {epochs} are worth is not known"],
        warnings=[
            f"{epochs}, and the runs do not say what repeated tokens are worth: size and loss are "
            f"those of fresh tokens, and the loss will be higher ({_words(law.status)}: {why})"
        ],
    )


def check_loss(loss: float) -> None:
    """Raises LawError where the loss is above that of a uniform guess."""
    if loss > UNIFORM_GUESS:
        raise LawError(
            f"the loss of such a run would be {loss:.3g} nats/token by the laws, above the "
            f"{UNIFORM_GUESS:.2f} (ln {RESIDUES}) of a uniform guess over the residues: they do "
            "not hold here; check the units (6B, 300M), ask for more compute or give more unique "
            "tokens"
        )


def how_sure(laws: Laws) -> str:
    """One line on what the law rests on and what checks it."""
    law, (low, high) = laws.optima, laws.fitted
    used = f"{law.n_points} runs"
    if law.selection is not None:
        used = f"{law.selection['used']} of {law.selection['given']} runs"
    said = f"{law.law} law {_words(law.status)}, {used}, {low:.2g} to {high:.2g} FLOPs"
    check = held_out(laws)
    if check is None:
        said += "; no held-out prediction checks it"
    else:
        said += f"; a held-out prediction {check.words}"
    doubted = law.status not in (Status.CONVERGED, Status.TWO_POINTS)
    return f"{said}; {law.reason}" if doubted and law.reason and not _failed(laws) else said
