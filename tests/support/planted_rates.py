"""Losses around best learning rates that are known."""

import numpy as np

K, ALPHA, BETA, DELTA, Q = 1.79, -0.713, 0.307, 0.4, 0.04
SIZES, BUDGETS, FACTORS = (1e7, 4e7, 1.6e8), (1e18, 3e18, 1e19), (0.25, 0.5, 1, 2, 4)
BATCH = 524288.0


def best(n, d, batch=BATCH):
    return K * n**ALPHA * d**BETA * (batch / BATCH) ** DELTA


def one_batch(n, d):
    return BATCH


def step_law_batch(n, d):
    """Between 0.1M and 3M tokens on these sizes and budgets."""
    return 0.58 * d**0.571


def planted(
    noise=0.0,
    seed=0,
    sizes=SIZES,
    budgets=BUDGETS,
    batches=(BATCH,),
    factors=FACTORS,
    skew=0.0,
    best_batch=one_batch,
    q_batch=0.01,
):
    """Arguments of the fit: a bowl in ln rate around the best rate of each N, D and batch, and one
    in ln batch around the best batch of each N and D."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in sizes:
        for d in np.array(budgets) / (6 * n):
            for batch in batches:
                for rate in 8e-3 * (n / 4e7) ** -1.0 * np.array(factors):
                    x = np.log(rate / best(n, d, batch))
                    level = 2 + 8 * n**-0.1 + q_batch * np.log(batch / best_batch(n, d)) ** 2
                    rows.append((n, d, batch, rate, level + Q * x**2 + skew * x**3))
    n, d, batch, rate, loss = np.array(rows).T
    loss = loss + noise * rng.standard_normal(len(loss))
    names = ("n_params", "tokens", "batch_tokens", "peak_learning_rate", "loss")
    return dict(zip(names, (n, d, batch, rate, loss), strict=True))
