"""What to train with a given compute: size, tokens, epochs and expected loss from fitted laws.

N and D come from the IsoFLOP law. When the unique tokens do not last for one epoch, the loss
around that optimum (`local_surface`) is minimised over N at the same compute with D' instead of D,
the worth of repeated tokens by the data-constrained law (Muennighoff et al. 2023, eq. 5). Where
nothing is repeated, that is the IsoFLOP optimum.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from plm_scaling.errors import LawError
from plm_scaling.laws.intervals import Floats, Interval
from plm_scaling.laws.local_surface import local_surface
from plm_scaling.laws.repeated_model import effective_tokens
from plm_scaling.laws.result import LawResult, read_law
from plm_scaling.sweep.gpus import gpu_hours
from plm_scaling.sweep.ladder import STUDY_GRID, Shape

PUBLISHED_LAWS = Path(__file__).parents[3] / "resources/published/laws"
SIZES = np.geomspace(1e3, 1e14, 8001)  # where the constrained optimum is looked for
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
    size: str
    shape: Shape
    gpu: str
    utilisation: float
    gpu_hours: float
    source: str
    unique_tokens: float | None = None
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

    Raises LawError for a missing or unidentified isoflop law and for values that are not positive.
    """
    for name, value in (("flops", flops), ("unique tokens", unique_tokens)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise LawError(f"{name} is {value}; give a positive number such as 1e21")
    law = read_law(laws / f"{objective}.isoflop.json")
    rows = law.details.get("frontier")
    if not rows:
        raise LawError(
            f"{laws}/{objective}.isoflop.json: the law is {law.status} and has no frontier; fit it "
            "to runs with minima at two budgets at least"
        )
    n, tokens, loss = (_at(rows, name, flops) for name in ("n_params", "tokens", "loss"))
    loss = _scaled(loss, [_bend(law, flops)] * 2)
    plan = Plan(
        flops=flops,
        objective=objective,
        level=law.equations["N"].level,
        n_params=n,
        tokens=tokens,
        loss=loss,
        size="",
        shape=next(iter(STUDY_GRID.values())),
        gpu=gpu,
        utilisation=utilisation,
        gpu_hours=gpu_hours(flops, gpu, utilisation),
        source=f"the {law.study} study's laws in {laws}",
        unique_tokens=unique_tokens,
        warnings=_extrapolation(rows, flops),
    )
    if unique_tokens is not None and tokens[0] > unique_tokens:
        _repeat(plan, law, laws, unique_tokens)
    if objective == "mlm":
        _transfer(plan, laws)
    plan.size, plan.shape = nearest_shape(plan.n_params[0])
    size = plan.shape.n_params("study")
    if not 0.8 < size / plan.n_params[0] < 1.25:
        plan.warnings.append(
            f"no shape of the ladder is near: {plan.size} has {size:.3g} parameters"
        )
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
    value = math.exp(_line(x, np.log([row[name] for row in rows]), math.log(flops)))
    intervals = [row[f"{name}_interval"] for row in rows]
    if any(interval is None for interval in intervals):
        return value, None
    ends = np.log(np.array(intervals))
    low, high = (math.exp(_line(x, ends[:, i], math.log(flops))) for i in (0, 1))
    return value, (low, high)


def _line(x: Floats, y: Floats, at: float) -> float:
    i = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    return float(y[i - 1] + (y[i] - y[i - 1]) * (at - x[i - 1]) / (x[i] - x[i - 1]))


def _bend(law: LawResult, flops: float) -> float:
    """Measured over fitted loss at `flops`, between the minima of the budgets and level beyond.

    L(C) bends in log-log (it has a floor, or steepens); a power law through all minima misses
    those in the middle by more than their noise.
    """
    power = law.equations["L"].parameters
    k, c = power["k"] or math.nan, power["c"] or math.nan
    minima = [m for m in law.details["minima"] if m["status"] == "accepted"]
    budgets = np.array([m["flops"] for m in minima])
    ratios = np.array([m["loss"] for m in minima]) / (k * budgets**c)
    return float(np.exp(np.interp(math.log(flops), np.log(budgets), np.log(ratios))))


def _extrapolation(rows: Sequence[dict], flops: float) -> list[str]:
    fitted = [row["flops"] for row in rows if not row["extrapolated"]]
    low, high = min(fitted), max(fitted)
    if low / 1.01 <= flops <= high * 1.01:
        return []
    where = f"{low / flops:.3g} times below the cheapest"
    if flops > high:
        where = f"{flops / high:.3g} times above the dearest"
    return [
        f"extrapolated: {flops:.3g} FLOPs lie {where} budget that was fitted "
        f"({low:.3g} to {high:.3g}); the interval does not cover a law that bends"
    ]


def _repeat(plan: Plan, law: LawResult, laws: Path, unique: float) -> None:
    """Move the plan to what is best when tokens beyond `unique` are repeated."""
    path = laws / f"{plan.objective}.repeated.json"
    if not path.exists():
        plan.warnings.append(
            f"{plan.tokens[0] / unique:.3g} epochs: {laws} has no law of repeated tokens, so size "
            "and loss are those of fresh tokens"
        )
        return
    repeated = read_law(path)
    r_d = repeated.equations["D_eff"].parameters["R_D"]
    if r_d is None:
        plan.warnings.append(
            f"{plan.tokens[0] / unique:.3g} epochs, and the {plan.objective} runs do not say what "
            "repeated tokens are worth: size and loss are those of fresh tokens, and the loss will "
            f"be higher ({repeated.status}: {repeated.warnings[0]})"
        )
        return
    base = local_surface(law, plan.flops, plan.n_params[0], plan.loss[0])
    open_ends = repeated.details.get("open_intervals", {}).get("R_D") or (r_d, None)
    ends = [r_d if open_ends[0] is None else open_ends[0], open_ends[1] or math.inf]
    fresh_n, fresh_loss = plan.n_params[0], plan.loss[0]
    n, loss = _optimum(base, plan.flops, unique, r_d)
    others = [_optimum(base, plan.flops, unique, end) for end in ends]
    factors = [m / fresh_n for m in (n, *(other[0] for other in others))]
    plan.n_params = _scaled(plan.n_params, factors)
    plan.tokens = _scaled(plan.tokens, [1 / factor for factor in factors])
    rises = [value - fresh_loss for value in (loss, *(other[1] for other in others))]
    spread = plan.loss[1]
    plan.loss = (
        loss,
        None if spread is None else (spread[0] + min(rises), spread[1] + max(rises)),
    )
    plan.notes.append(
        f"tokens repeat: R*_D = {r_d:.3g}, so the best size is {factors[0]:.3g} times that for "
        f"fresh tokens and the loss {rises[0]:.3g} nats higher"
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


def _optimum(
    base: dict[str, float], flops: float, unique: float, r_d: float
) -> tuple[float, float]:
    """(N, loss) at the lowest loss over N at fixed compute, tokens beyond `unique` repeated."""
    tokens = flops / (6 * SIZES)
    worth = tokens if math.isinf(r_d) else effective_tokens(tokens, unique, r_d)
    loss = base["E"] + base["A"] / SIZES ** base["alpha"] + base["B"] / worth ** base["beta"]
    best = int(loss.argmin())
    return float(SIZES[best]), float(loss[best])


def _scaled(estimate: Estimate, factors: Sequence[float]) -> Estimate:
    value, interval = estimate
    if interval is None:
        return value * factors[0], None
    return value * factors[0], (interval[0] * min(factors), interval[1] * max(factors))
