"""A loss surface with repeats that is known, and the law files of runs drawn from it."""

import math

import numpy as np

from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.repeated.endpoints import fit_repeated
from plm_scaling.laws.result import write_law

TRUE = {"E": 1.0, "A": 240.0, "B": 1040.0, "alpha": 0.35, "beta": 0.37}
R_STAR = 6.0
BUDGETS = np.geomspace(1e18, 1e21, 7)


def loss_at(n, d, unique=math.inf):
    """Muennighoff et al. 2023, eq. 5, written out, with N' = N."""
    repeats = np.maximum(d / unique - 1, 0)
    worth = np.minimum(d, unique) * (1 + R_STAR * (1 - np.exp(-repeats / R_STAR)))
    return TRUE["E"] + TRUE["A"] / n ** TRUE["alpha"] + TRUE["B"] / worth ** TRUE["beta"]


def optimum(c, unique=math.inf):
    """N and loss of the best of 200,001 sizes at a compute."""
    n = np.geomspace(1e5, 1e13, 200_001)
    loss = loss_at(n, c / (6 * n), unique)
    return n[loss.argmin()], loss.min()


def noisy_runs(seed=3, noise=2e-4):
    """N, D, C and L of seven sizes at each of seven budgets."""
    rng = np.random.default_rng(seed)
    n = np.concatenate([optimum(c)[0] * np.geomspace(0.4, 2.5, 7) for c in BUDGETS])
    c = np.repeat(BUDGETS, 7)
    d = c / (6 * n)
    return n, d, c, loss_at(n, d) * (1 + noise * rng.standard_normal(len(n)))


def write(folder, law, result, objective="clm"):
    """The law file, as `fit` names it."""
    result.objective, result.study, result.version = objective, "test", "0"
    write_law(folder / f"{objective}.{law}.json", result)


def write_laws(folder):
    """isoflop and repeated laws of the surface; in `folder`/parametric a parametric one."""
    n, d, c, loss = noisy_runs()
    write(folder, "isoflop", fit_isoflop(n, d, c, loss, bootstrap=200))
    unique, epochs = 1e9, np.array([2.0, 4, 8, 16, 32])
    many = np.full(5, 1e8)
    repeated = loss_at(many, unique * epochs, unique)
    fit = fit_repeated(many, unique * epochs, np.full(5, unique), repeated, base=TRUE, bootstrap=0)
    write(folder, "repeated", fit)
    (folder / "parametric").mkdir()
    write(folder / "parametric", "repeated", fit)
    fit = fit_parametric(n, d, loss, bootstrap=100)
    write(folder / "parametric", "parametric", fit)
    return folder
