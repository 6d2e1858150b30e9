"""The lowest loss at each compute, L = E + k·C^c."""

from dataclasses import dataclass

import numpy as np

from plm_scaling.laws.result import Equation
from plm_scaling.laws.stats.intervals import Floats


@dataclass(frozen=True)
class LossLaw:
    """L = floor + exp(log_k)·C^exponent in nats; floor 0 is the power law."""

    floor: float
    log_k: float
    exponent: float

    def __call__(self, flops: Floats | float) -> Floats:
        """L at `flops`."""
        return self.floor + np.exp(self.log_k + self.exponent * np.log(flops))

    def inverse(self, loss: Floats | float) -> Floats:
        """The FLOPs of a loss; infinite at or below the floor."""
        above = np.maximum(np.asarray(loss, float) - self.floor, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            return np.exp((np.log(above) - self.log_k) / self.exponent)


def loss_law_of(equation: Equation) -> LossLaw | None:
    """The law of an equation of either form; None where it is unknown."""
    floor, k, c = (equation.parameters.get(name, 0.0) for name in ("E", "k", "c"))
    return None if floor is None or k is None or c is None else LossLaw(floor, float(np.log(k)), c)
