"""Fit runs from stdin (JSON: N, D, loss, points) with the package `chinchilla`; JSON to stdout.

Started by fits.py with an interpreter that has the package.
"""

import json
import resource
import sys
import tempfile
from importlib.metadata import version

import numpy as np
from chinchilla import Chinchilla  # type: ignore[import-not-found]
from chinchilla._metrics import log_huber  # type: ignore[import-not-found]


def loss_fn(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Huber of the log loss with the delta of Hoffmann et al. 2022."""
    return log_huber(y_true, y_pred, delta=1e-3)


def cpu_seconds() -> float:
    """Of this process and the workers it has waited for."""
    own, workers = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime


if __name__ == "__main__":
    request = json.load(sys.stdin)
    points = request["points"]
    grid = {
        "E": np.linspace(0.5, 2, points),
        "a": np.log(np.geomspace(3, 1000, points)),
        "b": np.log(np.geomspace(3, 1e4, points)),
        "alpha": np.linspace(0.1, 0.7, points),
        "beta": np.linspace(0.1, 0.7, points),
    }
    with tempfile.TemporaryDirectory() as folder:
        model = Chinchilla(folder, param_grid=grid, loss_fn=loss_fn, log_level=60)
        for n, d, loss in zip(request["N"], request["D"], request["loss"], strict=True):
            model.append(N=n, D=d, loss=loss)
        started = cpu_seconds()
        model.fit()
        reply = {"cpu_s": cpu_seconds() - started, "version": version("chinchilla")}
        reply["params"] = {k: float(v) for k, v in model.get_params().items()}
    sys.stdout.write("\n" + json.dumps(reply) + "\n")
