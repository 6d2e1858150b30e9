"""Open a model by its name: a run of ours, or the folder of a public model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.models.esm2 import open_esm2
from plm_scaling.inference.models.folder import read_config
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.progen2 import open_progen2

KINDS = {"esm": open_esm2, "progen": open_progen2}
RELEASED = ("ProteinGLM", "proteinglm", "xTrimoPGLM", "xtrimopglm")


@contextmanager
def open_model(name: str, threads: int, device: str | None = None) -> Iterator[Model]:
    """The model `name`, on CUDA if there is or on `device`: a run folder or the id of a cell below
    results/*/runs, or the folder of an ESM-2 or ProGen2 model in transformers' form.

    Raises `InferenceError` if there is none, of more than one cell of the id, or of a folder that
    cannot be read; `RunsError` and `TrainError` as `open_run`.
    """
    folder = Path(name)
    if not folder.is_dir() or (folder / "result.json").exists() or _is_run(folder):
        from plm_scaling.inference.run import find_run, open_run  # the trainer takes seconds

        with open_run(find_run(name), threads, device=device) as run:
            yield run
        return
    kind = read_config(folder).get("model_type")
    if kind in RELEASED:
        raise InferenceError(
            f"{folder} is a released model of the study; make it a run: "
            f"plm-scaling import {folder} --from proteinglm --out RUN"
        )
    if kind in ("plm_scaling", "qwen3"):
        raise InferenceError(f"{folder} is an export of a run; give the run itself")
    if kind not in KINDS:
        raise InferenceError(
            f"{folder / 'config.json'}: model_type is {kind!r}; what can be read is "
            f"{', '.join(KINDS)} (ESM-2 and ProGen2), and runs"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    backend = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with torch.no_grad():
            yield KINDS[kind](folder, torch.device(backend))
    finally:
        torch.set_num_threads(before)


def _is_run(folder: Path) -> bool:
    """A run that did not end, which `open_run` says."""
    return (folder / "checkpoints").is_dir()
