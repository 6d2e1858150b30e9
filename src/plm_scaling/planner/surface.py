"""The loss of any run (N, D) from a law of the optima: that of the optimum that is as good.

Near the optimum of a compute C any smooth loss is E + A/N^α + B/D^β with what an IsoFLOP law has:
N_opt = k·C^a; the slope s = −dL/dlnC of L(C); and the curvature q of the parabolas in ln N. At the
optimum αA/N^α = βB/D^β = s, at fixed C the loss rises by q·(ln N/N_opt)² with q = s(α+β)/2, and
a = β/(α+β) (Hoffmann et al. 2022, eq. 4). Then the share of a run's loss above E that its size and
its tokens have, in units of the optimum at 1 FLOP, is a·(N/k)^−α + (1−a)·(6kD)^−β = C^−γ with
γ = αβ/(α+β), where C is the compute that would have reached the same loss in the best way. Of a
parametric law all this is exact. (A surface fitted to all runs would put the optimum elsewhere than
the parabolas do, and with it what repeats.)
"""

from dataclasses import dataclass, replace

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.stats.loss_law import LossLaw, loss_law_of
from plm_scaling.laws.status import Minimum


@dataclass(frozen=True)
class Surface:
    """Six numbers that give the loss everywhere: N_opt = exp(log_k)·C^a, α + β, and L(C)."""

    log_k: float
    a: float
    exponents: float
    """α + β; NaN where the law says nothing of runs off the optimum."""
    loss: LossLaw

    @property
    def alpha(self) -> float:
        """Of the size. Raises LawError where the law does not give it."""
        if np.isnan(self.exponents):
            raise LawError(
                "the law holds only optima and says nothing of other runs; plan with an isoflop or "
                "a parametric law (--laws)"
            )
        return (1 - self.a) * self.exponents

    @property
    def beta(self) -> float:
        """Of the tokens."""
        return self.a * self.exponents

    @property
    def gamma(self) -> float:
        """Of the compute."""
        return self.a * self.alpha

    def size(self, flops: Floats | float) -> Floats:
        """N_opt (parameters) of a compute; D_opt is flops/(6·N_opt)."""
        return np.exp(self.log_k + self.a * np.log(flops))

    def flops_of_size(self, n_params: float) -> float:
        """The compute of which a size is the optimum."""
        return float(np.exp((np.log(n_params) - self.log_k) / self.a))

    def flops_of_tokens(self, tokens: float) -> float:
        """The compute at whose optimum the tokens are so many."""
        return float(np.exp((np.log(6 * tokens) + self.log_k) / (1 - self.a)))

    def equivalent(self, n_params: Floats | float, tokens: Floats | float) -> Floats:
        """The compute whose optimum has the loss of a run; it rises with N and D, up to 6·N·D."""
        with np.errstate(divide="ignore", over="ignore"):
            return (self._of_size(n_params) + self._of_tokens(tokens)) ** (-1 / self.gamma)

    def tokens_for(self, flops: float, n_params: Floats | float) -> Floats:
        """The tokens that a size needs for the loss of an optimum; infinite where it never will."""
        left = np.maximum(flops**-self.gamma - self._of_size(n_params), 0.0) / (1 - self.a)
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(left ** (-1 / self.beta) / (6 * np.exp(self.log_k)))

    def size_for(self, flops: float, tokens: float) -> float:
        """The size that needs so many tokens for it; infinite where none does."""
        left = np.maximum(flops**-self.gamma - self._of_tokens(tokens), 0.0) / self.a
        with np.errstate(divide="ignore", over="ignore"):
            return float(left ** (-1 / self.alpha) * np.exp(self.log_k))

    def moved(self, factor: float) -> "Surface":
        """With all optima at `factor` times their size."""
        return replace(self, log_k=self.log_k + float(np.log(factor)))

    def _of_size(self, n_params: Floats | float) -> Floats:
        return self.a * np.exp(-self.alpha * (np.log(n_params) - self.log_k))

    def _of_tokens(self, tokens: Floats | float) -> Floats:
        return (1 - self.a) * np.exp(-self.beta * (np.log(tokens) + np.log(6) + self.log_k))


def surface_of(law: LawResult) -> Surface:
    """The surface of an isoflop, frontier or parametric law.

    Raises LawError if it has no numbers, N does not grow with compute more slowly than it (then D
    falls), or the loss does not fall.
    """
    if law.law == "parametric":
        p = law.equations["L"].parameters
        e, a, b, alpha, beta = (p[name] or 0.0 for name in ("E", "A", "B", "alpha", "beta"))
        if min(a, b, alpha, beta) <= 0:
            raise LawError(f"{law.objective} parametric: a term vanished, so it has no optimum")
        return parametric_surface(e, a, b, alpha, beta)
    k, a_n = (law.equations["N"].parameters[name] for name in ("k", "a"))
    loss = loss_law_of(law.equations["L"])
    if k is None or a_n is None or loss is None:
        status = law.status.replace("_", " ")
        raise LawError(f"{law.objective} {law.law}: the law is {status} and has no numbers")
    if not 0 < a_n < 1 or loss.exponent >= 0:
        raise LawError(
            f"{law.objective} {law.law}: the exponent {a_n:.3g} of N is not between 0 and 1, or "
            f"the lowest loss does not fall with compute (C^{loss.exponent:.3g}); fit the law to "
            "more budgets, further apart"
        )
    return Surface(float(np.log(k)), a_n, _exponents(law, loss), loss)


def parametric_surface(e: float, a: float, b: float, alpha: float, beta: float) -> Surface:
    """That of E + A/N^α + B/D^β, exactly."""
    share = beta / (alpha + beta)
    log_k = np.log(alpha * a / (beta * b)) / (alpha + beta) - share * np.log(6)
    above = a * np.exp(-alpha * log_k) / share
    law = LossLaw(e, float(np.log(above)), -share * alpha)
    return Surface(float(log_k), share, alpha + beta, law)


def _exponents(law: LawResult, loss: LossLaw) -> float:
    """α + β from the curvature of the parabolas and the slope of L(C); NaN without parabolas."""
    used = [m for m in law.details.get("minima", ()) if m["status"] == Minimum.ACCEPTED]
    slopes = [loss.exponent * (loss.floor - loss(m["flops"])) for m in used]
    pairs = [(2 * m["coefficients"][2], s) for m, s in zip(used, slopes, strict=True)]
    return float(np.median([curvature / slope for curvature, slope in pairs])) if used else np.nan
