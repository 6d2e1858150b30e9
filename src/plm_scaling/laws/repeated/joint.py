"""The joint fit of base law and repeats to end points, for all runs and for their resamples."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.parametric.optima import find_optima
from plm_scaling.laws.parametric.surface import NAMES, Surface
from plm_scaling.laws.repeated.model import effective_tokens
from plm_scaling.laws.repeated.overfit import fit_overfit
from plm_scaling.laws.repeated.surfaces import WORTH, Form, Runs, descend
from plm_scaling.laws.stats.intervals import Floats

STARTS_D, STARTS_N = (0.3, 2.0, 12.0, 80.0), (0.5, 5.0, 50.0)
STARTS_KAPPA = (0.5, 1.0, 2.0, 4.0)
PROFILE_POINTS = 12  # along R*_D or κ, from which resamples may start


@dataclass(frozen=True)
class Problem:
    """Runs, Huber's delta, and the base laws (K, 5) if they are given: the law, then its draws."""

    runs: Runs
    delta: float
    given: Floats | None

    @property
    def held(self) -> list[int]:
        """The parameters that are not fitted."""
        return [] if self.given is None else list(range(len(NAMES)))

    @cached_property
    def bases(self) -> Floats:
        """Base laws to start from, (S, 5) of θ: fitted as if R*_D were each of its starts."""
        runs = self.runs
        if self.given is not None:
            return runs.scaled(self.given[:1])
        found = []
        for r_d in STARTS_D:
            worth = effective_tokens(runs.tokens, runs.unique, r_d)
            surface = Surface.of(runs.n_params, worth, runs.loss, self.delta)
            found += [surface.natural(optimum.theta) for optimum in find_optima(surface)[:1]]
        if not found:
            raise LawError("the base law converged from no start; check the losses of the runs")
        return runs.scaled(np.array(found))

    def starts(self, form: Form) -> Floats:
        """Where to descend from, (S, 7)."""
        runs, starts = self.runs, []
        for base in self.bases:
            if form is WORTH:
                own = [(np.log(d), np.log(n)) for d in STARTS_D for n in STARTS_N]
            else:
                e, a, b, alpha, beta = runs.natural(base)
                excess = runs.loss - e - a / runs.n_params**alpha - b / runs.tokens**beta
                again, most = runs.repetitions > 0, runs.repetitions.max()
                over = fit_overfit(runs.repetitions[again], excess[again])
                own = [(over(most), np.log(over.kappa))]
                own += [(max(excess[again].max(), 0.01), np.log(k)) for k in STARTS_KAPPA]
            starts += [[*base, *extra] for extra in own]
        return np.array(starts)

    def fit(self, form: Form, start: Floats, weights: Floats | None = None) -> Floats:
        """θ (7,) of least misfit from the rows of `start`, to the runs of `weights` (n,)."""
        counts = np.ones((1, len(self.runs.loss))) if weights is None else weights[None]
        theta, misfit = descend(form, self.runs, start, counts, self.delta, self.held)
        return np.asarray(theta[misfit.argmin()])

    def errors(self, form: Form, theta: Floats) -> Floats:
        """Predicted − measured losses of the runs at θ (7,), nats."""
        return self.runs.loss * np.expm1(form.log_errors(self.runs, theta[None])[0])

    def resample(self, form: Form, best: Floats, counts: Floats) -> Floats:
        """θ (R, 7) of each resample of runs, `counts` (R, n), started from the best of the profile
        of the law in R*_D or κ; with a base law given under one of its draws."""
        k = form.profiled
        low, high = form.bounds(self.runs)
        profile = np.repeat(best[None], PROFILE_POINTS, axis=0)
        profile[:, k] = np.linspace(low[k], high[k], PROFILE_POINTS)
        every = np.ones((1, len(self.runs.loss)))
        profile, _ = descend(form, self.runs, profile, every, self.delta, [*self.held, k])
        candidates = np.concatenate([best[None], profile])
        start = candidates[(counts @ form.misfits(self.runs, candidates, self.delta).T).argmin(1)]
        if self.given is not None:
            draws = self.runs.scaled(self.given[1:] if len(self.given) > 1 else self.given)
            start[:, : len(NAMES)] = draws[np.arange(len(start)) % len(draws)]
        return descend(form, self.runs, start, counts, self.delta, self.held)[0]
