"""The forms of a score as a function of the loss, fitted by least squares to many resamples.

In x, the loss scaled to [-1, 1] over all cells: a constant, a line, an exponential that begins at
the score S0 of an untrained cell (Gadre et al. 2024, for errors), and a parabola, which has a peak.
Every form is linear in its coefficients once the rate of the exponential is chosen from a grid.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from plm_scaling.laws.stats.intervals import Floats

RATES = np.geomspace(0.05, 12.0, 40)  # of x: γ times half the range of the losses


class Form(StrEnum):
    """How a score follows the loss, from the simplest."""

    CONSTANT = "constant"
    LINE = "line"
    EXPONENTIAL = "exponential"
    PARABOLA = "parabola"


POWERS = {Form.CONSTANT: 1, Form.LINE: 2, Form.PARABOLA: 3}


@dataclass(frozen=True)
class Fits:
    """A form fitted to resamples (b,): coefficients (b, p) of its basis, NaN where the drawn cells
    do not determine them, and the rate γ of the exponential, in x."""

    form: Form
    coefficients: Floats
    rate: Floats
    begins: Floats | None
    """The score S0 of each cell before training (b, n), where it is known."""

    def at(self, x: Floats, begins: Floats | None = None) -> Floats:
        """Scores (b, m) at places `x` (m,) or (b, m); with a known S0 that of each place."""
        places = np.broadcast_to(x, (len(self.rate), np.shape(x)[-1]))
        basis = np.stack(basis_of(self.form, places, self.rate[:, None], self.begins is None), -1)
        value = np.einsum("bmp,bp->bm", basis, self.coefficients)
        return value if self.begins is None or begins is None else value + begins

    def slope_at(self, x: float) -> Floats:
        """dS/dx (b,), of a line or parabola."""
        powers = np.array([0.0, 1.0, 2 * x])[: self.coefficients.shape[1]]
        return np.asarray(self.coefficients @ powers)


def basis_of(form: Form, x: Floats, rate: Floats, free: bool) -> list[Floats]:
    """The functions of x that a form is a sum of; `free`: S0 of an exponential is one of them."""
    one = np.ones_like(x)
    if form == Form.EXPONENTIAL:
        return [*([one] if free else []), np.exp(-rate * x)]
    return [one, x, x**2][: POWERS[form]]


def n_parameters(form: Form, free: bool) -> int:
    """How many coefficients a form has; the exponential has a rate besides."""
    return 1 + free if form == Form.EXPONENTIAL else POWERS[form]


def fit_form(form: Form, x: Floats, score: Floats, weights: Floats, begins: Floats | None) -> Fits:
    """Least squares of `score` (b, n) at `x` (n,) with `weights` (b, n), times drawn. `begins`
    (b, n) is the score before training; only the exponential asks for it."""
    _, same = np.unique(x, return_inverse=True)
    different = ((weights @ np.eye(same.max() + 1)[same]) > 0).sum(1)
    if form != Form.EXPONENTIAL:
        coefficients, _ = _solve(_basis(form, x, 0.0, True), score, weights, different)
        return Fits(form, coefficients, np.zeros(len(score)), None)
    target = score if begins is None else score - begins
    free = begins is None
    tried = [_solve(_basis(form, x, rate, free), target, weights, different)[1] for rate in RATES]
    rate = _lowest(np.stack(tried, axis=-1))
    basis = np.stack(basis_of(form, np.broadcast_to(x, score.shape), rate[:, None], free), -1)
    return Fits(form, _solve(basis, target, weights, different)[0], rate, begins)


def _basis(form: Form, x: Floats, rate: float, free: bool) -> Floats:
    return np.stack(basis_of(form, x, np.array([rate]), free), -1)


def _lowest(squares: Floats) -> Floats:
    """The rate (b,) of the least of `squares` (b, rates), by a parabola through the three lowest;
    an end of the grid where the least is there."""
    at = np.argmin(squares, axis=1)
    inside = np.clip(at, 1, len(RATES) - 2)
    rows = np.arange(len(squares))
    below, least, above = (squares[rows, inside + i] for i in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        step = 0.5 * (below - above) / (below - 2 * least + above)
    step = np.where((at == inside) & np.isfinite(step), step, at - inside)
    return np.asarray(np.exp(np.interp(inside + step, np.arange(len(RATES)), np.log(RATES))))


def _solve(
    basis: Floats, target: Floats, weights: Floats, different: Floats
) -> tuple[Floats, Floats]:
    """Coefficients (b, p) and sums of squares (b,) on a basis (n, p), or one each (b, n, p); of
    resamples with as many `different` losses as coefficients."""
    n, size = basis.shape[-2:]
    if basis.ndim == 2:
        products = (basis[:, :, None] * basis[:, None, :]).reshape(n, size * size)
        normal = (weights @ products).reshape(-1, size, size)
        right = (weights * target) @ basis
    else:
        normal = np.einsum("bn,bni,bnj->bij", weights, basis, basis, optimize=True)
        right = np.einsum("bn,bni->bi", weights * target, basis)
    known = different >= size
    normal[~known] = np.eye(size)
    found = np.linalg.solve(normal, right[..., None])[..., 0]
    predicted = found @ basis.T if basis.ndim == 2 else (basis @ found[..., None])[..., 0]
    squares = (weights * (target - predicted) ** 2).sum(1)
    return np.where(known[:, None], found, np.nan), np.where(known, squares, np.inf)


def left_out_errors(form: Form, x: Floats, score: Floats, begins: Floats | None) -> Floats:
    """The error (n,) at each cell of a fit to all others."""
    n = len(x)
    own = None if begins is None else np.broadcast_to(begins, (n, n))
    fits = fit_form(form, x, np.broadcast_to(score, (n, n)), 1 - np.eye(n), own)
    predicted = fits.at(x, own)
    return np.asarray(score - np.diagonal(predicted))


def choose_form(x: Floats, score: Floats, begins: Floats | None) -> tuple[Form, dict[Form, float]]:
    """The simplest form whose squared error at cells left out is not above the least by more than a
    standard error of their difference, and the root of the mean square of each.

    Where S0 is known an exponential is as simple as a line, and comes first: it cannot fall below
    what untrained cells score.
    """
    errors = {form: left_out_errors(form, x, score, begins) ** 2 for form in Form}
    if begins is not None:
        errors = {
            Form.CONSTANT: errors[Form.CONSTANT],
            Form.EXPONENTIAL: errors[Form.EXPONENTIAL],
            **errors,
        }
    known = {form: own for form, own in errors.items() if np.isfinite(own).all()}
    best = min(known, key=lambda form: float(known[form].mean()))

    def as_good(form: Form) -> bool:
        excess = known[form] - known[best]
        return bool(excess.mean() <= excess.std(ddof=1) / len(x) ** 0.5)

    chosen = next(form for form in known if as_good(form))
    return chosen, {form: float(own.mean() ** 0.5) for form, own in known.items()}
