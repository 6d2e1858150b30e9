"""What to train with a given compute: size, tokens, epochs and expected loss from fitted laws.

N and D come from the IsoFLOP law. When the unique tokens do not last for one epoch, N is the one
whose run is worth most at the same compute, with D' instead of D: the worth of repeated tokens by
the data-constrained law (Muennighoff et al. 2023, eq. 5). Its loss is that of the smaller compute
whose optimum is as good (`local_surface`). So the loss never rises with compute or unique tokens,
and where nothing is repeated the answer is the IsoFLOP optimum.

Laws hold where they were fitted: far from there the plan is called a guess, or refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.repeated.model import effective_tokens
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.laws.stats.intervals import Interval
from plm_scaling.laws.stats.power import along
from plm_scaling.laws.status import Status
from plm_scaling.laws.verdict import around
from plm_scaling.planner.local_surface import equivalent_share, falling_loss, surface_exponents
from plm_scaling.study.hardware import gpu_hours
from plm_scaling.study.shapes import STUDY_GRID, Shape

PUBLISHED_LAWS = Path(__file__).parents[1] / "published/laws"
SIZES = (1e-4, 1e4)  # in units of the optimum for fresh tokens: where the constrained one is sought
GUESS, REFUSED = 1e2, 1e4  # factors beyond the budgets fitted
NEAR = 1.01  # budgets and epochs are met to within this
RESIDUES = 20  # STANDARD of `tokens.vocabulary`, which takes longer to import than a plan to make
UNIFORM_GUESS = math.log(RESIDUES)  # nats/token of a model that knows nothing
Estimate = tuple[float, Interval | None]


@dataclass
class Plan:
    """What to train; each estimate is (value, interval or None)."""

    flops: float
    objective: str
    level: float
    n_params: Estimate
    tokens: Estimate
    loss: Estimate
    gpu: str
    utilisation: float
    gpu_hours: float
    source: str
    unique_tokens: float | None = None
    guesses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> float | None:
        """Passes over the unique tokens; None where their number was not given."""
        return None if self.unique_tokens is None else self.tokens[0] / self.unique_tokens


def plan_training(
    flops: float,
    objective: str,
    laws: Path = PUBLISHED_LAWS,
    unique_tokens: float | None = None,
    gpu: str = "H100",
    utilisation: float = 0.4,
) -> Plan:
    """The plan for `flops` (6·N·D) of `objective` from the law files in the folder `laws`.

    Raises LawError for a missing isoflop law, one without numbers, values that are not positive,
    and where no law says anything: compute over 10,000 times beyond the budgets fitted, more epochs
    than repeated tokens were fitted on, or a loss above that of a uniform guess over the residues.
    """
    flops = _positive("flops", flops)
    unique_tokens = None if unique_tokens is None else _positive("unique tokens", unique_tokens)
    law = read_law(laws / f"{objective}.isoflop.json")
    rows = law.details.get("frontier")
    if not rows:
        raise LawError(
            f"{laws}/{objective}.isoflop.json: the law is {law.status} and has no frontier; fit it "
            "to runs with minima at two budgets at least"
        )
    warnings, guesses = _extrapolation(rows, flops)
    if law.status != Status.CONVERGED:
        why = "a line through two minima, which nothing checks"
        if law.status == Status.NOT_IDENTIFIED:
            why = law.warnings[-1]
        guesses.append(f"the isoflop law is {law.status} ({why})")
    n, tokens, loss = (_at(rows, name, flops) for name in ("n_params", "tokens", "loss"))
    loss = _scaled(loss, [falling_loss(law, flops) / loss[0]])
    plan = Plan(
        flops=flops,
        objective=objective,
        level=law.equations["N"].level,
        n_params=n,
        tokens=tokens,
        loss=loss,
        gpu=gpu,
        utilisation=utilisation,
        gpu_hours=gpu_hours(flops, gpu, utilisation),
        source=f"the {law.study} study's laws in {laws}",
        unique_tokens=unique_tokens,
        guesses=guesses,
        warnings=warnings,
    )
    if unique_tokens is not None and tokens[0] > unique_tokens:
        _repeat(plan, law, laws, unique_tokens)
    if plan.loss[0] > UNIFORM_GUESS:
        raise LawError(
            f"the loss of such a run would be {plan.loss[0]:.3g} nats/token by the laws, above the "
            f"{UNIFORM_GUESS:.3g} (ln {RESIDUES}) of a uniform guess over the residues: they "
            "do not hold here; ask for more compute or give more unique tokens"
        )
    if objective == "mlm":
        _transfer(plan, laws)
    name, shape = nearest_shape(plan.n_params[0])
    size = shape.n_params("study")
    if not 0.8 < size / plan.n_params[0] < 1.25:
        plan.warnings.append(f"no shape of the ladder is near: {name} has {size:.3g} parameters")
    return plan


def nearest_shape(n_params: float) -> tuple[str, Shape]:
    """Name and shape of the ladder's size nearest to `n_params` in the logarithm."""
    return min(
        STUDY_GRID.items(), key=lambda item: abs(math.log(item[1].n_params("study") / n_params))
    )


def _at(rows: Sequence[dict], name: str, flops: float) -> Estimate:
    """A column of a frontier table at `flops` with its interval, by lines through the logarithms.

    Between the table's budgets, and beyond them along its last two rows.
    """
    x = np.log([row["flops"] for row in rows])
    value = math.exp(along(x, np.log([row[name] for row in rows]), math.log(flops)))
    intervals = [row[f"{name}_interval"] for row in rows]
    if any(interval is None for interval in intervals):
        return value, None
    ends = np.log(np.array(intervals))
    low, high = (math.exp(along(x, ends[:, i], math.log(flops))) for i in (0, 1))
    return value, around(value, (low, high))


def _positive(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise LawError(f"{name} is {value}; give a positive number such as 1e21")
    return number


def _extrapolation(rows: Sequence[dict], flops: float) -> tuple[list[str], list[str]]:
    """(warnings, guesses) where `flops` lies beyond the budgets; raises LawError where far off."""
    fitted = [row["flops"] for row in rows if not row["extrapolated"]]
    low, high = min(fitted), max(fitted)
    factor = max(low / flops, flops / high)
    if factor <= NEAR:
        return [], []
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
    warning = f"extrapolated: {what}; the interval does not cover a law that bends"
    return [warning], [what] if factor > GUESS * NEAR else []


def _repeat(plan: Plan, law: LawResult, laws: Path, unique: float) -> None:
    """Move the plan to what is best when tokens beyond `unique` are repeated."""
    path = laws / f"{plan.objective}.repeated.json"
    fresh_tokens = plan.tokens[0]
    epochs = f"{fresh_tokens / unique:.3g} epochs"
    if not path.exists():
        from plm_scaling.laws.points import MAX_EPOCHS  # pandas, which no other plan needs

        plan.warnings.append(
            f"{epochs}: {laws} has no law of repeated tokens, so size and loss are those of fresh "
            "tokens"
        )
        why = f"no more are as good as fresh ones, and {laws} has no law of repeated tokens"
        _refuse_epochs(plan, fresh_tokens, MAX_EPOCHS, why)
        return
    repeated = read_law(path)
    known = repeated.details.get("epochs_range")
    if known is None:
        raise LawError(f"{path}: it does not say up to how many epochs it was fitted; fit it again")
    fitted_on = "the law of repeated tokens was fitted on no more"
    r_d = repeated.equations["D_eff"].parameters["R_D"]
    if r_d is None or repeated.status == Status.NOT_IDENTIFIED:
        why = repeated.warnings[0] if repeated.warnings else "no number"
        plan.guesses.append(f"what the repeated tokens of {epochs} are worth is not known")
        plan.warnings.append(
            f"{epochs}, and the {plan.objective} runs do not say what repeated tokens are worth: "
            "size and loss are those of fresh tokens, and the loss will be higher "
            f"({repeated.status}: {why})"
        )
        _refuse_epochs(plan, fresh_tokens, known[1], fitted_on)
        return
    ends = repeated.equations["D_eff"].interval["R_D"] or ()
    fresh_loss = plan.loss[0]
    exponents = surface_exponents(law)
    factors, losses = [], []
    for value in (r_d, *ends):
        factor, share = _optimum(exponents, fresh_tokens / unique, value)
        factors.append(factor)
        losses.append(falling_loss(law, plan.flops * share))
    plan.n_params = _scaled(plan.n_params, factors)
    plan.tokens = _scaled(plan.tokens, [1 / factor for factor in factors])
    rises = [loss - fresh_loss for loss in losses]
    spread = plan.loss[1]
    plan.loss = losses[0], spread and (spread[0] + min(rises), spread[1] + max(rises))
    _refuse_epochs(plan, fresh_tokens, known[1], fitted_on)
    plan.notes.append(
        f"tokens repeat: R*_D = {r_d:.3g}, so the best size is {factors[0]:.3g} times that for "
        f"fresh tokens and the loss {rises[0]:.3g} nats higher"
    )


def _refuse_epochs(plan: Plan, fresh_tokens: float, most: float, why: str) -> None:
    """Raise LawError if the plan repeats its tokens more often than anything is known of."""
    if plan.epochs is not None and plan.epochs > most * NEAR:
        raise LawError(
            f"{plan.epochs:.3g} epochs of {plan.unique_tokens:.3g} unique tokens would be best, "
            f"over {most:.3g}, and {why}: {fresh_tokens / most:.3g} unique tokens are enough for "
            "this compute, or give less compute"
        )


def _transfer(plan: Plan, laws: Path) -> None:
    """Say how to divide the compute between CLM pre-training and MLM, as far as it is known."""
    path = laws / "mlm.transfer.json"
    if not path.exists():
        return
    law = read_law(path)
    best, pairs = law.details["split"]["best_share"], law.details["pairs"]
    near = min(pairs, key=lambda pair: abs(math.log(pair["n_params"] / plan.n_params[0])))
    share = near["source_share"] if best is None else best
    known = "best" if best is not None else "not shown to be best: no size was tried with several"
    plan.notes.append(
        f"CLM first, MLM from its weights: {share:.0%} of the compute on CLM ({known} shares, this "
        f"is that of the pair nearest in size, {near['n_params']:.3g} parameters): "
        f"{share * plan.flops:.3g} and {(1 - share) * plan.flops:.3g} FLOPs. At that pair the loss "
        f"was what {near['compute_ratio']:.3g} times the whole compute gives from scratch"
    )


def _optimum(exponents: tuple[float, float], epochs: float, r_d: float) -> tuple[float, float]:
    """The best size in units of that for fresh tokens, and the share of the compute that fresh
    tokens would need for its loss; `epochs` are those at the optimum for fresh tokens."""
    sizes = np.geomspace(*SIZES, 401)
    for _ in range(4):  # each pass narrows the sizes to the neighbours of the best
        tokens = 1 / sizes
        worth = effective_tokens(tokens, 1 / epochs, r_d)
        shares = equivalent_share(exponents, sizes, worth)
        best = int(shares.argmax())
        found = float(sizes[best]), float(shares[best])
        low, high = sizes[max(best - 1, 0)], sizes[min(best + 1, len(sizes) - 1)]
        sizes = np.geomspace(low, high, len(sizes))
    return found


def _scaled(estimate: Estimate, factors: Sequence[float]) -> Estimate:
    """The estimate times the first factor; the interval covers all of them."""
    value, ends = estimate
    return value * factors[0], ends and (ends[0] * min(factors), ends[1] * max(factors))
