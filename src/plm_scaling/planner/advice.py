"""What a plan says beside its numbers: when data run out, when a model is served, what to train
first."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import short_number
from plm_scaling.planner.case import Case
from plm_scaling.planner.trust import NEAR, check_loss, of_reach

MORE_DATA = 10.0
OTHER_WAYS = (
    "or another corpus, the other objective on the same tokens (by its own laws), or fine-tuning a "
    "public model"
)


@dataclass(frozen=True)
class Otherwise:
    """The plan with something else given."""

    flops: float
    n_params: float
    epochs: float
    loss_nats_per_token: float


@dataclass(frozen=True)
class Data:
    """What limits a run whose tokens repeat, None where the laws do not say."""

    unique_tokens: float
    epochs: float
    most_epochs: float
    """As many as the laws know."""
    ten_times_the_data: Otherwise | None
    half_the_compute: Otherwise | None


@dataclass(frozen=True)
class Serving:
    """Training and serving together, and the same loss from the model that trains cheapest."""

    tokens: float
    flops: float
    """Of serving, 2·N a token."""
    total_flops: float
    cheapest_training_n_params: float
    cheapest_training_total_flops: float


def data_limit(case: Case) -> Data | None:
    """What more data or less compute would give; None where nothing repeats."""
    run, repeats = case.run, case.repeats
    if run.tokens <= repeats.unique:
        return None
    return Data(
        unique_tokens=repeats.unique,
        epochs=repeats.epochs(run.tokens),
        most_epochs=repeats.most_epochs,
        ten_times_the_data=_otherwise(case.but(unique_tokens=MORE_DATA * repeats.unique))
        if repeats.known
        else None,
        half_the_compute=None if case.asked.flops is None else _otherwise(
            case.but(flops=case.asked.flops / 2)
        ),
    )  # fmt: skip


def check_epochs(case: Case) -> None:
    """Raises LawError, with what can be done, if tokens repeat more often than anything is known
    of."""
    run, repeats, surface = case.run, case.repeats, case.laws.surface
    epochs, most = repeats.epochs(run.tokens), repeats.most_epochs
    if epochs <= most * NEAR:
        return
    free = case.asked.n_params is None and case.asked.tokens is None
    ways = []
    least = "" if repeats.known else "at least "  # that of fresh tokens
    less = _longest(case) if free and case.asked.flops is not None else None
    if less is not None:
        ways.append(
            f"stop earlier ({less.flops:.3g} FLOPs, {short_number(less.n_params)} parameters, loss "
            f"{least}{less.loss_nats_per_token:.3f})"
        )
    more = _otherwise(case.but(unique_tokens=MORE_DATA * repeats.unique))
    if more is not None:
        ways.append(f"ten times the data gives {least}{more.loss_nats_per_token:.3f}")
    fresh = run.flops / (6 * float(surface.size(run.flops))) if free else run.tokens
    raise LawError(
        f"{epochs:.3g} epochs of {short_number(repeats.unique)} unique tokens would be best, over "
        f"{most:.3g}, {repeats.why}: {short_number(fresh / most)} unique tokens are enough for "
        f"this compute; {'; '.join([*ways, OTHER_WAYS])}"
    )


def serving(case: Case) -> Serving | None:
    """What serving adds; None where no tokens are served."""
    served, run = case.asked.served, case.run
    if not served:
        return None
    compute = case.equivalent
    n = float(case.laws.surface.size(compute))
    flops = 2 * run.n_params * served
    return Serving(served, flops, run.flops + flops, n, compute + 2 * n * served)


def transfer(case: Case) -> list[str]:
    """Whether to spend a share on the other objective first, as far as it is known."""
    law = case.laws.other("transfer")
    if law is None or not law.details["pairs"]:
        return []
    pairs, best = law.details["pairs"], law.details["split"]["best_share"]
    near = min(pairs, key=lambda pair: abs(np.log(pair["n_params"] / case.run.n_params)))
    shares, ratios = ([pair[name] for pair in pairs] for name in ("source_share", "compute_ratio"))
    gain = near["compute_ratio"]
    share = near["source_share"] if best is None else best
    worth = f"worth {gain:.3g} times the whole compute from scratch"
    interval = near["compute_ratio_interval"]
    if interval is not None:
        worth += f" ({interval[0]:.2f} to {interval[1]:.2f})"
    known = "that share is the best of those tried"
    if best is None:
        known = "not shown to be best, as no size was tried with several shares"
    return [
        f"CLM first, then MLM from its weights? In {len(pairs)} pairs of runs, with "
        f"{min(shares):.0%} to {max(shares):.0%} of the compute on the CLM, that was worth "
        f"{min(ratios):.2f} to {max(ratios):.2f} times the whole compute from scratch. As in the "
        f"pair nearest in size ({short_number(near['n_params'])} parameters): "
        f"{share * case.run.flops:.3g} FLOPs on a CLM of the same size ({share:.0%}, {known}), "
        f"{(1 - share) * case.run.flops:.3g} on the MLM; {worth}"
    ]


def _otherwise(case: Case) -> Otherwise | None:
    """The plan, None where the laws say nothing of it."""
    try:
        run, loss = case.run, case.loss_of(case.run)
        of_reach(case.laws, run.flops)
        check_loss(loss or 0.0)
    except LawError:
        return None
    epochs = case.repeats.epochs(run.tokens)
    if loss is None or epochs > case.repeats.most_epochs * NEAR:
        return None
    return Otherwise(run.flops, run.n_params, epochs, loss)


def _longest(case: Case) -> Otherwise | None:
    """The plan of the largest compute whose epochs are known."""
    low, high = 1.0, case.asked.flops or 1.0
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        try:
            tokens = case.but(flops=middle).run.tokens
        except LawError:  # too little to serve what is asked
            tokens = 0.0
        few = case.repeats.epochs(tokens) <= case.repeats.most_epochs
        low, high = (middle, high) if few else (low, middle)
    return _otherwise(case.but(flops=low))
