"""The two laws of repeated runs as surfaces over (N, D, U), fitted to many resamples in one array.

Both hold θ = (E, ln A', ln B', ln α, ln β) of the base law, with N and D in units of their
geometric means over the runs, and two parameters of their own. `WORTH`, with ln R*_D and ln R*_N,
is L = E + A/N'^α + B/D'^β as in `model`, where U_N follows from the same A, B, α and β. `PENALTY`,
with c·R_max^κ and ln κ, is L = E + A/N^α + B/D^β + c·R^κ, which can turn up as repetitions R grow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.laws.parametric.surface import EXPONENT_BOUNDS, NAMES
from plm_scaling.laws.repeated.details import FormName
from plm_scaling.laws.repeated.model import KAPPA_LIMITS, R_LIMITS, gains
from plm_scaling.laws.stats.huber import huber
from plm_scaling.laws.stats.intervals import Floats

MAX_STEPS = 200
SMALLEST_GAIN, ROUNDING = 1e-10, 1e-26  # relative; absolute, of runs that a law meets exactly
FIRST_DAMPING, LEAST_DAMPING, LARGEST_DAMPING = 1e-3, 1e-9, 1e8
LEAST_TERM = 1e-6  # nats; a term this small has vanished
MOST_PENALTY = 10.0  # nats, at the most repetitions; more than any model loses
MOST_EXCESS = 50.0  # of ln(N/U_N); what is beyond has no further worth


@dataclass(frozen=True)
class Runs:
    """N, D, unique tokens U ≤ D and loss (nats) of runs, each (n,)."""

    n_params: Floats
    tokens: Floats
    unique: Floats
    loss: Floats

    @cached_property
    def centre(self) -> tuple[float, float]:
        """ln of the geometric means of N and D."""
        return float(np.log(self.n_params).mean()), float(np.log(self.tokens).mean())

    @cached_property
    def logs(self) -> tuple[Floats, Floats, Floats, Floats]:
        """ln N, ln D and ln U in units of the means, and ln L."""
        n, d = self.centre
        log_n, log_d, log_u = (np.log(x) for x in (self.n_params, self.tokens, self.unique))
        return log_n - n, log_d - d, log_u - d, np.log(self.loss)

    @cached_property
    def repetitions(self) -> Floats:
        """R = D/U − 1."""
        return self.tokens / self.unique - 1

    def scaled(self, natural: Floats) -> Floats:
        """θ (…, 5) of E, A, B, α, β with N in parameters and D in tokens."""
        e, a, b, alpha, beta = np.moveaxis(np.asarray(natural, float), -1, 0)
        n, d = self.centre
        with np.errstate(divide="ignore"):
            parts = np.log(a) - alpha * n, np.log(b) - beta * d, np.log(alpha), np.log(beta)
        return np.stack([e, *parts], axis=-1)

    def natural(self, theta: Floats) -> Floats:
        """E, A, B, α, β (…, 5) of θ (…, 5 or more); inverse of `scaled`."""
        e, log_a, log_b = np.moveaxis(theta[..., :3], -1, 0)
        alpha, beta = np.moveaxis(np.exp(theta[..., 3:5]), -1, 0)
        n, d = self.centre
        terms = np.exp(log_a + alpha * n), np.exp(log_b + beta * d)
        return np.stack([e, *terms, alpha, beta], axis=-1)


@dataclass(frozen=True)
class Form:
    """One of the two laws; `predict` gives losses (S, n) and their derivatives (S, 7, n) in θ."""

    name: FormName
    own_names: tuple[str, str]
    predict: Callable[[Runs, Floats], tuple[Floats, Floats]]
    limits: tuple[tuple[float, float], tuple[float, float]]
    profiled: int
    """The column of θ whose optimum may be one of several."""

    def bounds(self, runs: Runs) -> tuple[Floats, Floats]:
        """Lower and upper bounds of θ; no part of the loss exceeds the largest loss seen."""
        least, most = runs.loss.min(), runs.loss.max()
        term = (np.log(LEAST_TERM), np.log(most))
        exponent = (np.log(EXPONENT_BOUNDS[0]), np.log(EXPONENT_BOUNDS[1]))
        low, high = zip((0, least), term, term, exponent, exponent, *self.limits, strict=True)
        return np.array(low), np.array(high)

    def log_errors(self, runs: Runs, theta: Floats) -> Floats:
        """ln L̂ − ln L, (S, n)."""
        return np.log(self.predict(runs, theta)[0]) - runs.logs[3]

    def misfits(self, runs: Runs, theta: Floats, delta: float) -> Floats:
        """Huber_δ of each run, (S, n)."""
        return huber(self.log_errors(runs, theta), delta)

    def own(self, runs: Runs, theta: Floats) -> Floats:
        """R*_D and R*_N, or c and κ, (S, 2)."""
        second = np.exp(theta[:, 6])
        if self.name == FormName.WORTH:
            return np.stack([np.exp(theta[:, 5]), second], axis=1)
        return np.stack([theta[:, 5] * runs.repetitions.max() ** -second, second], axis=1)

    def at_bound(self, runs: Runs, theta: Floats) -> list[str]:
        """Names of the base law's parameters that lie at a bound."""
        low, high = self.bounds(runs)
        return [n for n, v, lo, hi in zip(NAMES, theta, low, high, strict=False) if not lo < v < hi]


def _worth(runs: Runs, theta: Floats) -> tuple[Floats, Floats]:
    e, log_a, log_b, log_alpha, log_beta, log_rd, log_rn = (c[:, None] for c in theta.T)
    alpha, beta = np.exp(log_alpha), np.exp(log_beta)
    log_n, _, log_u, _ = runs.logs
    g, g_slope, _ = gains(runs.repetitions, np.exp(log_rd))
    log_d = log_u + np.log(g)
    d_part = np.exp(log_b - beta * log_d)
    optimal = (log_alpha + log_a - log_beta - log_b + beta * log_u) / alpha
    excess = np.clip(log_n - optimal, 0, MOST_EXCESS)  # of ln N over ln U_N
    log_un = log_n - excess
    h, h_slope, decay = gains(np.expm1(excess), np.exp(log_rn))
    log_n_eff = log_un + np.log(h)
    n_part = np.exp(log_a - alpha * log_n_eff)
    follows = np.where(excess > 0, 1 - decay * np.exp(excess) / h, 0.0)  # d ln N' / d ln U_N
    jacobian = np.empty((len(theta), 7, len(log_n)))
    jacobian[:, 0] = 1
    jacobian[:, 1] = n_part * (1 - follows)
    jacobian[:, 2] = n_part * follows + d_part
    jacobian[:, 3] = -n_part * (alpha * log_n_eff + follows * (1 - alpha * optimal))
    jacobian[:, 4] = -n_part * follows * (beta * log_u - 1) - d_part * beta * log_d
    jacobian[:, 5] = -beta * d_part * g_slope / g
    jacobian[:, 6] = -alpha * n_part * h_slope / h
    return e + n_part + d_part, jacobian


def _penalty(runs: Runs, theta: Floats) -> tuple[Floats, Floats]:
    e, log_a, log_b, log_alpha, log_beta, top, log_kappa = (c[:, None] for c in theta.T)
    log_n, log_d, _, _ = runs.logs
    n_bend, d_bend = np.exp(log_alpha) * log_n, np.exp(log_beta) * log_d
    n_part, d_part = np.exp(log_a - n_bend), np.exp(log_b - d_bend)
    share = runs.repetitions / runs.repetitions.max()
    log_share = np.log(np.where(share > 0, share, 1.0))
    shape = np.where(share > 0, np.exp(np.exp(log_kappa) * log_share), 0.0)
    jacobian = np.empty((len(theta), 7, len(log_n)))
    jacobian[:, 0] = 1
    jacobian[:, 1], jacobian[:, 2] = n_part, d_part
    jacobian[:, 3], jacobian[:, 4] = -n_part * n_bend, -d_part * d_bend
    jacobian[:, 5] = shape
    jacobian[:, 6] = top * shape * np.exp(log_kappa) * log_share
    return e + n_part + d_part + top * shape, jacobian


def _logs(limits: tuple[float, float]) -> tuple[float, float]:
    return float(np.log(limits[0])), float(np.log(limits[1]))


WORTH = Form(FormName.WORTH, ("R_D", "R_N"), _worth, (_logs(R_LIMITS), _logs(R_LIMITS)), 5)
PENALTY = Form(
    FormName.PENALTY, ("c", "kappa"), _penalty, ((0, MOST_PENALTY), _logs(KAPPA_LIMITS)), 6
)


def descend(
    form: Form,
    runs: Runs,
    start: Floats,
    weights: Floats,
    delta: float,
    held: Sequence[int] = (),
) -> tuple[Floats, Floats]:
    """θ (S, 7) of least Σ w·Huber_δ(ln L̂ − ln L) and that misfit (S,), from each row of `start`
    under `weights` (S, n) or (1, n).

    Levenberg's scheme with the curvature of the runs within δ, damped by that of the parabolas that
    touch Huber's function, which never is too small. A parameter at its bound whose gradient points
    outwards is held for the step, one in `held` throughout.
    """
    low, high = form.bounds(runs)
    low[list(held)], high[list(held)] = -np.inf, np.inf
    here = np.clip(start, low, high)
    weights = np.broadcast_to(weights, (len(here), len(runs.loss)))
    state = _curvature(form, runs, here, weights, delta)
    theta, misfit = here.copy(), state[0].copy()
    moving, damping = np.arange(len(here)), np.full(len(here), FIRST_DAMPING)
    for _ in range(MAX_STEPS):
        _, gradient, hessian, majorant = state
        fixed = ((here <= low) & (gradient > 0)) | ((here >= high) & (gradient < 0))
        fixed[:, list(held)] = True
        scale = np.where(fixed | (majorant <= 0), 0, 1 / np.sqrt(np.maximum(majorant, 1e-300)))
        matrix = hessian * scale[:, :, None] * scale[:, None, :]
        matrix[:, range(7), range(7)] += damping[:, None] + (scale == 0)
        step = -scale * np.linalg.solve(matrix, (gradient * scale)[:, :, None])[:, :, 0]
        there = np.clip(here + step, low, high)
        beyond = _curvature(form, runs, there, weights, delta)
        gain = state[0] - beyond[0]
        better = gain > 0
        here = np.where(better[:, None], there, here)
        for own, new in zip(state, beyond, strict=True):
            own[better] = new[better]
        small = np.abs(gain) <= SMALLEST_GAIN * state[0] + ROUNDING
        still = (small & (damping <= 1)) | (damping > LARGEST_DAMPING)
        damping = np.maximum(damping * np.where(better, 0.1, 10.0), LEAST_DAMPING)
        theta[moving], misfit[moving] = here, state[0]
        if still.any():
            rest = ~still
            moving, here = moving[rest], here[rest]
            damping, weights = damping[rest], weights[rest]
            state = [part[rest] for part in state]
            if not len(moving):
                break
    return theta, misfit


def _curvature(
    form: Form, runs: Runs, theta: Floats, weights: Floats, delta: float
) -> list[Floats]:
    """Misfit (S,), gradient (S, 7), Hessian (S, 7, 7) and the majorant's diagonal (S, 7)."""
    predicted, jacobian = form.predict(runs, theta)
    jacobian /= predicted[:, None]
    r = np.log(predicted) - runs.logs[3]
    clipped = np.clip(r, -delta, delta)
    pull = weights * clipped
    touch = np.where(r == 0, weights, pull / np.where(r == 0, 1, r))
    inside = weights * (clipped == r)
    return [
        (weights * huber(r, delta)).sum(axis=1),
        (jacobian @ pull[:, :, None])[:, :, 0],
        (jacobian * inside[:, None]) @ jacobian.transpose(0, 2, 1),
        (np.square(jacobian) @ touch[:, :, None])[:, :, 0],
    ]
