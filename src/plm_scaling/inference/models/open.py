"""Open a model by its name: a run of ours, or the folder of a public model."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from plm_scaling.inference.models.describe import CELL, describe
from plm_scaling.inference.models.esm2 import open_esm2
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.progen2 import open_progen2

PUBLIC = {"esm2": open_esm2, "progen2": open_progen2}


@contextmanager
def open_model(name: str, threads: int, device: str | None = None) -> Iterator[Model]:
    """The model `name`, on CUDA if there is or on `device`: a run folder or the id of a cell below
    results/*/runs, or the folder of an ESM-2 or ProGen2 model in transformers' form.

    Raises as `describe` and `open_run`, and `InferenceError` where weights are damaged.
    """
    folder, described = describe(name)
    if described.kind == CELL:
        from plm_scaling.inference.run import open_run  # the trainer takes seconds

        with open_run(folder, threads, device=device) as run:
            yield run
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    backend = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with torch.no_grad():
            yield PUBLIC[described.kind](folder, torch.device(backend))
    finally:
        torch.set_num_threads(before)
