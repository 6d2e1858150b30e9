"""What tokens do that are seen more than once (Muennighoff et al. 2023, eq. 5; or a penalty)."""

import math
from dataclasses import dataclass, replace

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.repeated.model import effective_tokens
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Status
from plm_scaling.planner.laws import Laws
from plm_scaling.study.cell import MAX_EPOCHS


@dataclass(frozen=True)
class Repeats:
    """Unique tokens and the law of their repeats, in one of its forms: they are worth less than
    fresh ones (D'), or add c·R^κ to the loss of as many fresh ones."""

    unique: float
    """Infinite where nothing repeats."""
    r_star: tuple[float, ...] = ()
    """R*_D and the ends of its interval."""
    penalties: tuple[tuple[float, float], ...] = ()
    """(c, κ) as estimated and with the ends of the interval of c. Without either repeats can only
    be taken for fresh tokens."""
    most_epochs: float = math.inf
    """No more were seen by the law."""
    why: str = ""
    """Why no more."""

    @property
    def known(self) -> bool:
        """Whether the law says what repeats do."""
        return bool(self.r_star or self.penalties)

    @property
    def ends(self) -> range:
        """What `end` may be: 0 is the estimate, the others are ends of its interval."""
        return range(max(1, len(self.r_star), len(self.penalties)))

    def worth(self, tokens: Floats | float, end: int = 0) -> Floats:
        """Fresh tokens of the same worth, D'."""
        given = np.asarray(tokens, float)
        if math.isinf(self.unique) or not self.r_star:
            return given
        with np.errstate(invalid="ignore"):  # of endless tokens only the derivative is not known
            seen = np.maximum(given, self.unique)
            worth = effective_tokens(seen, self.unique, self.r_star[end])
        return np.where(given <= self.unique, given, worth)

    def penalty(self, tokens: Floats | float, end: int = 0) -> Floats:
        """What repeats add to the loss (nats/token)."""
        if math.isinf(self.unique) or not self.penalties:
            return np.zeros_like(np.asarray(tokens, float))
        c, kappa = self.penalties[end]
        return np.asarray(c * np.maximum(np.asarray(tokens) / self.unique - 1, 0.0) ** kappa)

    def tokens_for(self, worth: Floats, end: int = 0) -> Floats:
        """Inverse of `worth`; infinite beyond what repeats can give."""
        if math.isinf(self.unique) or not self.r_star:
            return worth
        r_star = self.r_star[end]
        with np.errstate(divide="ignore", invalid="ignore"):
            more = -r_star * np.log1p(-np.minimum((worth / self.unique - 1) / r_star, 1.0))
        return np.where(worth <= self.unique, worth, self.unique * (1 + more))

    def epochs(self, tokens: float) -> float:
        """Passes over the unique tokens."""
        return tokens / self.unique


def repeats_of(laws: Laws, unique: float) -> Repeats:
    """The repeats of so many unique tokens by the law of repeated tokens, if there is one."""
    if math.isinf(unique):
        return Repeats(unique)
    law = laws.other("repeated")
    if law is None:
        why = "up to which they are as good as new, and there is no law of repeated tokens"
        return Repeats(unique, most_epochs=MAX_EPOCHS, why=why)
    known = law.details.get("epochs_range")
    if known is None:
        path = laws.files["repeated"]
        raise LawError(f"{path}: it does not say up to how many epochs it was fitted; fit it again")
    most, why = float(known[1]), "the most that the law of repeated tokens was fitted on"
    said = Repeats(unique, most_epochs=most, why=why)
    if law.status == Status.NOT_IDENTIFIED:
        return said
    if law.details.get("form") == "penalty":
        excess = law.equations["excess"]
        c, kappa = (excess.parameters[name] for name in ("c", "kappa"))
        if c is None or kappa is None:
            return said
        ends = (c, *(excess.interval["c"] or ()))
        return replace(said, penalties=tuple((value, kappa) for value in ends))
    r_d = law.equations["D_eff"].parameters["R_D"]
    ends = law.equations["D_eff"].interval["R_D"] or ()
    return said if r_d is None else replace(said, r_star=(r_d, *ends))
