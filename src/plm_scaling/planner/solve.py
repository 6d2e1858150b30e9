"""N and D of what is given: the best of all runs that meet it."""

from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import short_number
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.planner.repeats import Repeats
from plm_scaling.planner.surface import Surface

SIZES = (1e-4, 1e4)  # in units of the optimum for fresh tokens: where the best size is sought
PASSES, POINTS = 4, 401


class Run(NamedTuple):
    """Parameters and tokens."""

    n_params: float
    tokens: float

    @property
    def flops(self) -> float:
        """6·N·D."""
        return 6 * self.n_params * self.tokens

    @property
    def all(self) -> tuple[float, float, float]:
        """N, D and 6·N·D."""
        return *self, self.flops


def solve(
    surface: Surface,
    repeats: Repeats,
    flops: float | None = None,
    n_params: float | None = None,
    tokens: float | None = None,
    target: float | None = None,
    served: float = 0.0,
    end: int = 0,
) -> Run:
    """The run with what is given: two of compute, N, D and loss; or one, and the best of the rest.

    Compute is 6·N·D and 2·N for each token `served`; a loss is given as `target`, the compute whose
    optimum has it. Of only N or D the compute is that of which they are the optimum for fresh
    tokens. `end` chooses among the values of R*_D. Raises LawError where no run meets it.
    """
    if n_params is not None:
        if tokens is None and target is not None:
            tokens = float(_tokens_for(surface, repeats, target, np.array([n_params]), end)[0])
            if not np.isfinite(tokens):
                raise _unreached(surface, repeats, target, n_params, np.inf, end)
        elif tokens is None:
            total = surface.flops_of_size(n_params) if flops is None else flops
            tokens = _left(total / (6 * n_params) - (0 if flops is None else served / 3))
        return Run(n_params, tokens)
    if tokens is not None:
        if target is not None:
            fresh = surface.loss.inverse(surface.loss(target) - repeats.penalty(tokens, end))
            n_params = surface.size_for(float(fresh), float(repeats.worth(tokens, end)))
            if not np.isfinite(n_params):
                raise _unreached(surface, repeats, target, np.inf, tokens, end)
            return Run(n_params, tokens)
        total = surface.flops_of_tokens(tokens) if flops is None else flops
        return Run(total / (6 * tokens + (0 if flops is None else 2 * served)), tokens)
    if target is not None:
        return _best(surface, repeats, target, served, end, of_loss=True)
    assert flops is not None
    return _best(surface, repeats, flops, served, end)


def equivalent(
    surface: Surface,
    repeats: Repeats,
    n_params: Floats | float,
    tokens: Floats | float,
    end: int = 0,
) -> Floats:
    """The compute whose optimum on fresh tokens has the loss of a run."""
    flops = surface.equivalent(n_params, repeats.worth(tokens, end))
    if not repeats.penalties:
        return flops
    return surface.loss.inverse(surface.loss(flops) + repeats.penalty(tokens, end))


def _tokens_for(
    surface: Surface, repeats: Repeats, target: float, sizes: Floats, end: int
) -> Floats:
    """The fewest tokens with which each size has the loss of the optimum of `target`; infinite
    where it never has."""
    tokens = repeats.tokens_for(surface.tokens_for(target, sizes), end)
    if not repeats.penalties:
        return tokens
    grid = _grid(repeats)
    above = np.log(equivalent(surface, repeats, sizes[:, None], grid, end) / target)
    i = np.maximum((above >= 0).argmax(axis=1), 1)  # the first that is enough
    rows = np.arange(len(sizes))
    step = above[rows, i - 1] / (above[rows, i - 1] - above[rows, i])
    found = grid[i - 1] * (grid[i] / grid[i - 1]) ** step
    found = np.where((above >= 0).any(axis=1), found, np.inf)
    return np.where(tokens <= repeats.unique, tokens, found)


def _grid(repeats: Repeats) -> Floats:
    """Tokens among which repeats with a penalty are sought, as many epochs as any law knows."""
    return repeats.unique * np.geomspace(1, max(2 * repeats.most_epochs, 2), 60)


def _best(
    surface: Surface,
    repeats: Repeats,
    flops: float,
    served: float,
    end: int,
    of_loss: bool = False,
) -> Run:
    """The size of lowest loss for `flops`, or of least compute for the loss of their optimum."""
    centre = float(surface.size(flops))
    fresh = Run(centre, flops / (6 * centre))
    if not served and fresh.tokens <= repeats.unique:
        return fresh
    if not served and not repeats.known:
        return fresh

    def run(sizes: Floats) -> tuple[Floats, Floats]:
        """Tokens, and what is to be as large as possible."""
        if of_loss:
            tokens = _tokens_for(surface, repeats, flops, sizes, end)
            return tokens, -(6 * sizes * tokens + 2 * sizes * served)
        tokens = np.maximum(flops / (6 * sizes) - served / 3, 0.0)
        with np.errstate(divide="ignore"):
            return tokens, equivalent(surface, repeats, sizes, tokens, end)

    sizes = centre * np.geomspace(*SIZES, POINTS)
    for _ in range(PASSES):  # each narrows the sizes to the neighbours of the best
        tokens, score = run(sizes)
        best = int(np.nanargmax(score))
        found = Run(float(sizes[best]), float(tokens[best]))
        low, high = sizes[max(best - 1, 0)], sizes[min(best + 1, POINTS - 1)]
        sizes = np.geomspace(low, high, POINTS)
    if not np.isfinite(found.tokens):
        raise _unreached(surface, repeats, flops, np.inf, np.inf, end)
    return Run(found.n_params, _left(found.tokens))


def target_of(surface: Surface, loss: float) -> float:
    """The compute whose optimum has the loss. Raises LawError at or below the law's floor."""
    flops = float(surface.loss.inverse(loss))
    if not np.isfinite(flops):
        raise LawError(
            f"a loss of {loss:g} nats/token is not above the floor of the law, "
            f"{surface.loss.floor:.3g}: no compute reaches it"
        )
    return flops


def _unreached(
    surface: Surface, repeats: Repeats, target: float, n_params: float, tokens: float, end: int
) -> LawError:
    counts = tokens if np.isfinite(tokens) or not repeats.penalties else _grid(repeats)
    least = surface.loss(equivalent(surface, repeats, n_params, counts, end)).min()
    held = [f"{short_number(value)} {name}" for value, name in (
        (n_params, "parameters"), (tokens, "tokens"), (repeats.unique, "unique tokens"),
    ) if np.isfinite(value)]  # fmt: skip
    return LawError(
        f"{' and '.join(held)} never reach {float(surface.loss(target)):.3f} nats/token, only "
        f"{float(least):.3f}, however much compute it takes; ask for a higher loss or give more"
    )


def _left(tokens: float) -> float:
    if tokens <= 0:
        raise LawError(
            "serving so many tokens takes all the compute and leaves none for training; give more "
            "compute or serve less"
        )
    return tokens
