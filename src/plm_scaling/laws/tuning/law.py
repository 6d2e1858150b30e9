"""The law of the best value of a setting, learning rate or batch: a plane through the vertices of
its bowls, how sure that is, and what speaks against it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from plm_scaling.laws.details import NotAvailable
from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats, Interval, percentile_interval
from plm_scaling.laws.status import Check, Evidence
from plm_scaling.laws.tuning.bowls import Bowls, Group
from plm_scaling.laws.tuning.details import ConfigBlock, HeldOutSetting
from plm_scaling.laws.tuning.line import Line

FORM, BATCH_FORM = "k*N^alpha*D^beta", "k*N^alpha*D^beta*(B/B0)^delta"
COST = 0.005  # nats that following the law may cost: less than two runs of one setting differ by
WIDE = 0.2  # of an exponent; at the curvatures that are usual a decade away costs 0.01 nats


class Row(NamedTuple):
    """A group: its own best value and the loss there (nats/token), the law's value and what it
    costs to follow the law (nats/token), and each value tried with its loss and whether the
    parabola is fitted to it. None: there is no minimum, or no law."""

    group: Group
    best: float | None
    loss: float | None
    law: float | None
    excess: float | None
    tried: list[tuple[float, float, bool]]


@dataclass(frozen=True)
class Best:
    """The law of the best value of the setting `what` ("rate" or "batch")."""

    what: str
    bowls: Bowls
    usual: float
    """B0, tokens."""
    noise: float
    """What the losses scatter by at least, nats."""
    level: float

    @cached_property
    def line(self) -> Line:
        """Through the vertices inside the values tried."""
        own = [g for g, inside in zip(self.bowls.groups, self.bowls.inside, strict=True) if inside]
        n, d, b = (
            np.log([getattr(g, x) for g in own]) for x in ("n_params", "tokens", "batch_tokens")
        )
        return Line(n, d, b - np.log(self.usual), self.bowls.best[0][self.bowls.inside])

    @cached_property
    def undetermined(self) -> str:
        """Why there is no law; '' if there is one."""
        q, inside = self.bowls.best[2], int(self.bowls.inside.sum())
        if not q > 0 or not inside:
            return f"no (N, D) has a best {self.what} inside those tried"
        off = self.bowls.curvature_error(self.noise)
        if q < off * NormalDist().inv_cdf((1 + self.level) / 2):
            return (
                f"the losses hardly depend on the {self.what}: of those tried, noise decides which "
                "is best"
            )
        if self.line.freedom < 1:
            return (
                f"{inside} (N, D) have a best {self.what} inside those tried, and "
                f"{len(self.line.names) + 1} are needed for a law that they can contradict"
            )
        return self.line.undetermined

    @cached_property
    def explained(self) -> float:
        """How much of the variance of ln of the best values noise explains."""
        variances = self.bowls.variances(self.noise)[self.bowls.inside]
        return float(np.nan_to_num(variances).mean()) if len(variances) else 0.0

    def drawn(self, resamples: int, rng: np.random.Generator) -> Floats:
        """ln k and the exponents as uncertain as they are, (resamples, P); none without a law."""
        if self.undetermined or not resamples:
            return np.empty((0, len(self.line.names)))
        return self.line.drawn(self.explained, resamples, rng)

    def equation(self, drawn: Floats) -> Equation:
        """k and the exponents with the intervals of those `drawn`."""
        line = self.line
        form = BATCH_FORM if "delta" in line.names else FORM
        values: dict[str, float | None] = dict.fromkeys(line.names)
        interval: dict[str, Interval | None] = dict.fromkeys(line.names)
        if not self.undetermined:
            values = dict(zip(line.names, map(float, line.parameters), strict=True))
            values["k"] = float(np.exp(line.parameters[0]))
        if len(drawn):
            with np.errstate(over="ignore"):
                samples = [np.exp(drawn[:, 0]), *drawn[:, 1:].T]
            found = (percentile_interval(one, self.level) for one in samples)
            interval = dict(zip(line.names, found, strict=True))
        return Equation(form, values, interval, self.level)

    def block(self, equation: Equation) -> ConfigBlock | None:
        """The law as a config takes it."""
        k, alpha, beta = (equation.parameters[name] for name in ("k", "alpha", "beta"))
        if k is None or alpha is None or beta is None:
            return None
        delta = equation.parameters.get("delta")
        if delta is None:
            return {"factor": k, "parameters": alpha, "tokens": beta}
        factor = k * self.usual**-delta
        return {"factor": factor, "parameters": alpha, "tokens": beta, "batch": delta}

    def log_value(self, group: Group) -> float | None:
        """ln of the law's value for a group; None without a law."""
        if self.undetermined:
            return None
        usual = self.usual
        n, d, b = (np.log([v]) for v in (group.n_params, group.tokens, group.batch_tokens / usual))
        return float((self.line.terms(n, d, b) @ self.line.parameters)[0])

    def rows(self, setting: Floats, loss: Floats) -> Iterator[Row]:
        """One for each group; `setting` and `loss` (n,) of all runs."""
        log_best, least, q = self.bowls.best
        found = zip(self.bowls.groups, self.bowls.inside, log_best, least, strict=True)
        for group, inside, own, lowest in found:
            law = self.log_value(group)
            tried = [
                (float(setting[i]), float(loss[i]), bool(fitted))
                for i, fitted in zip(group.members, group.fitted, strict=True)
            ]
            yield Row(
                group,
                float(np.exp(own)) if inside else None,
                float(lowest) if inside else None,
                None if law is None else float(np.exp(law)),
                None if law is None or not inside else float(q * (own - law) ** 2),
                sorted(tried, key=lambda one: one[0]),
            )

    def excess(self) -> Equation:
        """What a value costs that is off by a factor."""
        q, error = self.bowls.best[2], self.bowls.curvature_error(self.noise)
        value = q if q > 0 else None
        interval = None
        if value is not None and np.isfinite(error):
            off = error * NormalDist().inv_cdf((1 + self.level) / 2)
            interval = (max(0.0, q - off), q + off)
        return Equation(f"q*ln({self.what}/best)^2", {"q": value}, {"q": interval}, self.level)

    def evidence(self, equation: Equation, check: HeldOutSetting | NotAvailable) -> Evidence:
        """What the fit knows of itself; `check` is the prediction at the largest compute."""
        if self.undetermined:
            return {"undetermined": [self.undetermined]}
        q, evidence = self.bowls.best[2], Evidence()
        evidence["misfit"] = {
            "what": f"what following the law in place of each best {self.what} costs",
            "value": q * max(0.0, self.line.variance - self.explained),
            "allowed": COST,
            "unit": "nats",
        }
        evidence["undetermined"] = [
            f"the interval of {name} ({known[1]:.2f} to {known[2]:.2f}) spans more than ±{WIDE}: a "
            f"decade of {of} away the best {self.what} is not known to a factor of {10**WIDE:.1f}"
            for name, of in (("alpha", "N"), ("beta", "D"))
            if (known := equation.known(name)) and known[2] - known[1] > 2 * WIDE
        ]
        if check["status"] == Check.DONE:
            evidence["held_out"] = {
                "what": f"what the {self.what} predicted for the largest compute costs",
                "value": check["loss"]["excess"],
                "allowed": COST + check["loss"]["allowed_by_noise"],
                "unit": "nats",
            }
        return evidence
