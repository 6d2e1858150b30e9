"""What is known of the loss before a sweep: a surface, how sure it is, and how runs scatter.

A law of the optima gives it: N_opt = k·C^a with the interval of its size at every compute, the
curvature of its parabolas and the slope of L(C) (`planner.surface`), the residuals of its runs, and
the scatter of its minima beyond them. Truths are drawn from it; L(C) itself stays as it is, as the
answers hardly depend on it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.stats.intervals import Interval
from plm_scaling.laws.status import Minimum
from plm_scaling.planner.laws import Laws, find_laws
from plm_scaling.planner.surface import Surface
from plm_scaling.planner.trust import REFUSED

EXPONENTS = (0.05, 0.95)  # of N: in a truth both sizes and tokens grow with compute
POINTS = 33  # compute at which the interval of the size is looked up, to find where it is narrowest


@dataclass(frozen=True)
class Prior:
    """A surface and its uncertainty, as standard deviations."""

    name: str
    """Which law, as one calls it."""
    surface: Surface
    pivot: float
    """ln FLOPs where ln N_opt is known best; there it does not depend on the exponent."""
    log_n_sd: float
    """Of ln N_opt at the pivot."""
    exponent_sd: float
    """Of the exponent a."""
    curvature_sd: float
    """Of ln(α + β), to which the curvature of the parabolas is proportional."""
    noise: float
    """Of a run's loss, nats/token."""
    scatter: float
    """Of ln N at the minimum of a budget about the power law, beyond the noise of its runs."""
    fitted: Interval
    """FLOPs that the law was fitted to, smallest and largest."""

    def log_size(self, flops: float) -> float:
        """ln N_opt as expected."""
        return float(np.log(self.surface.size(flops)))

    def log_size_sd(self, flops: float) -> float:
        """Standard deviation of ln N of the minimum of a budget."""
        far = self.exponent_sd * (np.log(flops) - self.pivot)
        return float(np.sqrt(self.log_n_sd**2 + far**2 + self.scatter**2))

    def check_reach(self, flops: float) -> None:
        """Raise LawError where the law says nothing of this compute."""
        low, high = self.fitted
        if not low / REFUSED <= flops <= high * REFUSED:
            raise LawError(
                f"{self.name} was fitted to {low:.2g} to {high:.2g} FLOPs and says nothing of "
                f"{flops:.2g}"
            )

    def truth(self, rng: np.random.Generator) -> Surface:
        """One of the surfaces that the law leaves possible."""
        of_size, of_exponent, of_curvature = rng.standard_normal(3)
        s = self.surface
        a = float(np.clip(s.a + self.exponent_sd * of_exponent, *EXPONENTS))
        log_n = s.log_k + s.a * self.pivot + self.log_n_sd * of_size
        exponents = s.exponents * float(np.exp(self.curvature_sd * of_curvature))
        return replace(s, log_k=log_n - a * self.pivot, a=a, exponents=exponents)


def find_prior(where: Path, objective: str | None) -> Prior:
    """The prior of the law of an objective in a file or folder. Raises LawError if it has none."""
    return prior_of(find_laws(where, objective))


def prior_of(laws: Laws) -> Prior:
    """The prior of a law with numbers and intervals; raises LawError if it has none."""
    law, interval = laws.optima, laws.optima.equations["N"].interval["a"]
    grid = np.geomspace(*laws.fitted, POINTS)
    ends = [laws.size(flops).interval for flops in grid]
    if interval is None or law.residual_rms is None or None in ends:
        raise LawError(
            f"{laws.path}: the law has no intervals, so nothing says how sure it is; fit it with "
            "--bootstrap 1000, or to more runs"
        )
    laws.surface.alpha  # noqa: B018  # raises LawError for a law that holds only optima
    widths = np.log([end[1] / end[0] for end in ends if end])
    per_sd = 2 * NormalDist().inv_cdf((1 + laws.level) / 2)
    best = int(widths.argmin())
    return Prior(
        name=laws.name,
        surface=laws.surface,
        pivot=float(np.log(grid[best])),
        log_n_sd=float(widths[best]) / per_sd,
        exponent_sd=(interval[1] - interval[0]) / per_sd,
        curvature_sd=_curvature_sd(laws),
        noise=law.residual_rms,
        scatter=(law.details.get("scatter") or {}).get("log_n_sd") or 0.0,
        fitted=laws.fitted,
    )


def _curvature_sd(laws: Laws) -> float:
    """Standard error of the mean of ln(curvature/slope of L); 0 where all is one surface."""
    used = [m for m in laws.optima.details.get("minima", ()) if m["status"] == Minimum.ACCEPTED]
    if len(used) < 2:
        return 0.0
    loss = laws.surface.loss
    slopes = np.array([loss(m["flops"]) - loss.floor for m in used])
    logs = np.log([m["coefficients"][2] for m in used] / slopes)
    return float(logs.std(ddof=1) / np.sqrt(len(logs)))
