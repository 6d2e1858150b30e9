"""Parabolas in ln of a setting (learning rate or batch), with a vertex for each group of runs and
one curvature for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plm_scaling.laws.points import SAME_TOKENS
from plm_scaling.laws.stats.intervals import Floats

MIN_RATES = 4  # three rates fit any parabola exactly
WINDOW = 0.06  # nats above the best loss of the group; far wings are not quadratic


@dataclass(frozen=True)
class Group:
    """The runs `members` (n,) of one size, batch and number of tokens; `fitted` (n,): those near
    enough to the best of them. The groups of a law of the batch have B0 as theirs."""

    n_params: float
    tokens: float
    batch_tokens: float
    members: NDArray[np.int64]
    fitted: NDArray[np.bool_]


def groups_of(
    n_params: Floats,
    tokens: Floats,
    batch_tokens: Floats,
    setting: Floats,
    loss: Floats,
    least: int,
) -> list[Group]:
    """The groups with at least so many values of the `setting`, by rising N, D and batch; all
    arrays (n,)."""
    groups = []
    for n, batch in sorted(set(zip(n_params, batch_tokens, strict=True))):
        same = np.flatnonzero((n_params == n) & (batch_tokens == batch))
        same = same[np.argsort(tokens[same], kind="stable")]
        starts = np.flatnonzero(np.diff(np.log(tokens[same])) > np.log(SAME_TOKENS)) + 1
        for members in np.split(same, starts):
            if len(np.unique(setting[members])) >= least:
                fitted = _near_best(setting[members], loss[members], least)
                mean = float(np.exp(np.log(tokens[members]).mean()))
                groups.append(Group(float(n), mean, float(batch), members, fitted))
    return sorted(groups, key=lambda group: (group.n_params, group.tokens, group.batch_tokens))


def _near_best(setting: Floats, loss: Floats, least: int) -> NDArray[np.bool_]:
    """Neighbours of the best value within WINDOW of its loss; `least` of them in any case."""
    distinct = np.unique(setting)
    lowest = np.array([loss[setting == value].min() for value in distinct])
    first = last = int(lowest.argmin())
    while first > 0 and lowest[first - 1] <= lowest.min() + WINDOW:
        first -= 1
    while last < len(distinct) - 1 and lowest[last + 1] <= lowest.min() + WINDOW:
        last += 1
    while last - first + 1 < least:  # steep sides: the nearer in loss, all the same
        below = lowest[first - 1] if first > 0 else np.inf
        above = lowest[last + 1] if last < len(distinct) - 1 else np.inf
        first, last = (first - 1, last) if below <= above else (first, last + 1)
    return (setting >= distinct[first]) & (setting <= distinct[last])


@dataclass(frozen=True)
class Bowls:
    """Loss = level + q·(x − best)², x being ln of the setting, with level and best of each of G
    groups."""

    groups: Sequence[Group]
    log_x: Floats
    """ln of the setting of all fitted runs, (n,)."""
    loss: Floats
    """nats/token, (n,)."""
    of: NDArray[np.int64]
    """The group of each, (n,)."""

    @classmethod
    def around(cls, groups: Sequence[Group], setting: Floats, loss: Floats) -> "Bowls":
        """The fitted runs of the groups, out of `setting` and `loss` of all runs."""
        used = [group.members[group.fitted] for group in groups]
        of = np.repeat(np.arange(len(groups)), [len(members) for members in used])
        taken = np.concatenate(used)
        return cls(groups, np.log(setting[taken]), loss[taken], of)

    @cached_property
    def _centre(self) -> Floats:
        return np.array([self.log_x[self.of == g].mean() for g in range(len(self.groups))])

    @cached_property
    def _design(self) -> Floats:
        """Of levels and slopes (G each) and the curvature, (n, 2G + 1)."""
        x = self.log_x - self._centre[self.of]
        member = np.eye(len(self.groups))[self.of]
        return np.hstack([member, member * x[:, None], (x**2)[:, None]])

    @cached_property
    def _solve(self) -> Floats:
        return np.asarray(np.linalg.pinv(self._design), np.float64)

    def vertices(self, loss: Floats) -> tuple[Floats, Floats, Floats]:
        """ln of the best values (S, G), their losses (S, G) and the curvatures q (S,) of series of
        losses (S, n); best values are NaN without a minimum."""
        count = len(self.groups)
        level, slope, q = np.split(loss @ self._solve.T, [count, 2 * count], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.where(q > 0, -slope / (2 * q), np.nan)
        return self._centre + off, level - q * off**2, q[:, 0]

    @cached_property
    def best(self) -> tuple[Floats, Floats, float]:
        """ln of the best values (G,), their losses (G,), the curvature; of the measured losses."""
        log_best, least, q = self.vertices(self.loss[None])
        return log_best[0], least[0], float(q[0])

    def variances(self, noise: float) -> Floats:
        """Of ln of the best values, (G,), from what the losses scatter by, `noise` (nats) at least;
        NaN where nothing says how much they do."""
        count, (log_best, _, q) = len(self.groups), self.best
        slope = -2 * q * (log_best - self._centre)
        gradient = np.zeros((count, 2 * count + 1))
        gradient[np.arange(count), count + np.arange(count)] = -1 / (2 * q)
        gradient[:, -1] = slope / (2 * q**2)
        return self._spread(gradient, noise)

    def least_variances(self, noise: float) -> Floats:
        """Of the losses at the best values, (G,), nats², from the same."""
        count, off = len(self.groups), self.best[0] - self._centre
        gradient = np.zeros((count, 2 * count + 1))
        gradient[np.arange(count), np.arange(count)] = 1
        gradient[np.arange(count), count + np.arange(count)] = off
        gradient[:, -1] = off**2
        return self._spread(gradient, noise)

    def _spread(self, gradient: Floats, noise: float) -> Floats:
        """Variances (G,) of what changes with levels, slopes and curvature by `gradient` (G, P)."""
        variances: Floats = self._scatter(noise) * ((gradient @ self._solve) ** 2).sum(axis=1)
        return variances

    def curvature_error(self, noise: float) -> float:
        """Standard error of q, NaN where nothing says what the losses scatter by."""
        return float(np.sqrt(self._scatter(noise) * (self._solve[-1] ** 2).sum()))

    def _scatter(self, noise: float) -> float:
        """Variance of the losses, nats²."""
        about = self.squares / self.freedom if self.freedom > 0 else np.nan
        return float(np.fmax(about, noise**2 if noise else np.nan))

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether each best value lies between the group's fitted ones, (G,)."""
        found = []
        for g, best in enumerate(self.best[0]):
            own = self.log_x[self.of == g]
            found.append(own.min() < best < own.max())
        return np.array(found, bool)

    @property
    def freedom(self) -> int:
        """Degrees of freedom about the parabolas."""
        return len(self.loss) - self._design.shape[1]

    @cached_property
    def fitted(self) -> Floats:
        """Losses of the parabolas, (n,)."""
        return self._design @ (self._solve @ self.loss)

    @property
    def squares(self) -> float:
        """Sum of squares about the parabolas, nats²."""
        return float(((self.loss - self.fitted) ** 2).sum())
