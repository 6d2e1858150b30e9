"""What tokens are worth that are seen more than once (Muennighoff et al. 2023, eq. 5)."""

import math
from dataclasses import dataclass

import numpy as np

from plm_scaling.common.errors import LawError
from plm_scaling.laws.repeated.model import effective_tokens
from plm_scaling.laws.stats.intervals import Floats
from plm_scaling.laws.status import Status
from plm_scaling.planner.laws import Laws


@dataclass(frozen=True)
class Repeats:
    """Unique tokens and the law of their repeats."""

    unique: float
    """Infinite where nothing repeats."""
    r_star: tuple[float, ...] = ()
    """R*_D and the ends of its interval; empty where repeats can only be taken for fresh tokens."""
    most_epochs: float = math.inf
    """No more were seen by the law."""
    why: str = ""
    """Why no more, and why R*_D is not known."""

    def worth(self, tokens: Floats | float, end: int = 0) -> Floats:
        """Fresh tokens of the same worth, D'; `end` chooses among `r_star`."""
        if math.isinf(self.unique) or not self.r_star:
            return np.asarray(tokens, float)
        return effective_tokens(np.asarray(tokens, float), self.unique, self.r_star[end])

    def worths(self, tokens: float) -> list[float]:
        """D' as estimated, and with the ends of R*_D's interval."""
        return [float(self.worth(tokens, end)) for end in range(max(1, len(self.r_star)))]

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
        from plm_scaling.laws.points import MAX_EPOCHS  # pandas, which no other plan needs

        why = "up to which they are as good as new, and there is no law of repeated tokens"
        return Repeats(unique, (), MAX_EPOCHS, why)
    known = law.details.get("epochs_range")
    if known is None:
        path = laws.files["repeated"]
        raise LawError(f"{path}: it does not say up to how many epochs it was fitted; fit it again")
    most, why = float(known[1]), "the most that the law of repeated tokens was fitted on"
    r_d = law.equations["D_eff"].parameters["R_D"]
    if r_d is None or law.status == Status.NOT_IDENTIFIED:
        return Repeats(unique, (), most, why)
    return Repeats(unique, (r_d, *(law.equations["D_eff"].interval["R_D"] or ())), most, why)
