"""Which model a name means, and what it is: all that is refused without PyTorch."""

from pathlib import Path

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.find import find_run
from plm_scaling.inference.models.description import Alphabet, Description
from plm_scaling.inference.models.esm2_description import described_esm2
from plm_scaling.inference.models.folder import read_config
from plm_scaling.inference.models.progen2_description import described_progen2
from plm_scaling.study.cell import Cell
from plm_scaling.study.record import RunRecord
from plm_scaling.tokens.format.vocabulary import EOD, MASK, RESIDUE_ID, SOP, SPECIAL, UNK
from plm_scaling.train.checkpoint.final import final_checkpoint

CELL = "cell"
"""The kind of a run of ours, or an import."""
KINDS = {"esm": described_esm2, "progen": described_progen2}
RELEASED = ("ProteinGLM", "proteinglm", "xTrimoPGLM", "xtrimopglm")


def describe(name: str) -> tuple[Path, Description]:
    """The folder and the description of the model `name` (see `open_model`).

    Raises `InferenceError` if there is none, of more than one cell of the id, or of a folder that
    cannot be read; `RunsError` and `TrainError` as `described_run`.
    """
    folder = Path(name)
    if not folder.is_dir() or (folder / "result.json").exists() or _is_run(folder):
        folder = find_run(name)
        return folder, described_run(folder)[0]
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
    return folder, KINDS[kind](folder)


def described_run(folder: Path) -> tuple[Description, RunRecord, Cell]:
    """The run in `folder` (result.json, checkpoints/). Raises `RunsError` if it did not finish or
    its record is damaged, `TrainError` if its checkpoint is missing."""
    _, record, cell = final_checkpoint(folder)
    described = Description(
        name=f"{cell.objective} {cell.size} {cell.cell}",
        kind=CELL,
        objective=cell.objective,
        context_length=cell.context_length,
        layers=cell.layers,
        heads=cell.heads,
        hidden=cell.hidden,
        mask_ratio=cell.mask_ratio,
        alphabet=Alphabet(
            RESIDUE_ID,
            other=UNK,
            end=EOD,
            start=SOP if cell.start_token else None,
            row_prefix=tuple(SPECIAL[name] for name in cell.row_prefix),
            mask=MASK if cell.objective == "mlm" else None,
        ),
    )
    return described, record, cell


def _is_run(folder: Path) -> bool:
    """A run that did not end, which `described_run` says."""
    return (folder / "checkpoints").is_dir()
