"""A model that was trained elsewhere as a finished run: the study's released ones."""

import logging
import re
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from plm_scaling import __version__
from plm_scaling.common.errors import InferenceError
from plm_scaling.common.files import EXISTS, atomic, sha256_of, write_json
from plm_scaling.common.progress import short_number
from plm_scaling.inference.models.folder import (
    check_weights,
    read_config,
    read_weights,
    weight_files,
)
from plm_scaling.inference.models.proteinglm_description import shape_of
from plm_scaling.study.cell import Cell, ImportedCell
from plm_scaling.study.record import RunRecord
from plm_scaling.study.shapes import STUDY_GRID, Shape

logger = logging.getLogger("plm_scaling")

# Their names of the tokens before a sequence → ours.
PREFIX_TOKENS = {"<gmask>": "gmask", "<sop>": "sop", "<eos>": "eod"}
PREFIX = "<gmask><sop><eos>"  # what their own tokenizer puts before what a CLM is to continue


def import_proteinglm(folder: Path, out: Path, threads: int, prefix: str = PREFIX) -> None:
    """Write the run `out` with the released model in `folder` (config.json, *.safetensors).

    Its result.json says `imported`; what only its training knew is missing there. A CLM reads
    `prefix` at the beginning of each row, an MLM nothing. It takes the memory of the weights twice.
    Raises `InferenceError` if `out` exists, `prefix` has other tokens, the folder is of another
    model, or its weights are pickles, incomplete or damaged.
    """
    if out.exists():
        raise InferenceError(f"{out} {EXISTS}")
    if not folder.is_dir():
        raise InferenceError(f"{folder} is no folder; give that of the downloaded model")
    config = read_config(folder)
    shape, context_length = shape_of(folder, config)
    names = _prefix_names(prefix, context_length)
    check_weights(folder)
    # PyTorch, which takes seconds: nothing that can be refused before is refused after it.
    from plm_scaling.train.distributed.megatron import import_megatron

    import_megatron()
    import torch

    from plm_scaling.inference.models.proteinglm import converted, rounding_of_angles
    from plm_scaling.train.checkpoint.sharded import sharded_model
    from plm_scaling.train.checkpoint.store import save_checkpoint
    from plm_scaling.train.distributed.process import cpu_process
    from plm_scaling.train.model.builder import build_model

    files = {path.name: sha256_of(path) for path in weight_files(folder)}
    tensors = read_weights(folder)
    bf16 = {value.dtype for value in tensors.values()} == {torch.bfloat16}
    cell = _cell(shape, context_length, names if config.get("is_causal") else None, bf16, files)
    if (radians := rounding_of_angles(tensors, context_length)) > 1e-3:
        logger.warning(
            "%s: its rotary frequencies are rounded, by up to %.2g rad at the end of the context; "
            "here they are exact, so that scores of long proteins differ a little",
            *(folder, radians),
        )
    with cpu_process(threads, seed=0), atomic(out) as run:  # nothing is drawn
        network = build_model(cell, initial_weights=False)
        parameters = dict(network.named_parameters())
        weights = converted(folder, tensors, {name: p.data for name, p in parameters.items()})
        with torch.no_grad():
            for name, value in weights:
                parameters[name].copy_(value)
        run.mkdir()
        state = {"model": sharded_model(network)}
        save_checkpoint(run / "checkpoints", 0, {"cell": cell.cell}, {}, state)
        record = _record(cell, f"proteinglm ({folder.resolve().name})")
        write_json(run / "result.json", record.to_json())


def _prefix_names(prefix: str, context_length: int) -> list[str]:
    """The tokens of `--prefix` by our names."""
    names = re.findall("|".join(PREFIX_TOKENS), prefix)
    if "".join(names) != prefix or len(names) + 1 >= context_length:
        raise InferenceError(
            f"--prefix {prefix}: give any of {' '.join(PREFIX_TOKENS)}, without blanks"
        )
    return [PREFIX_TOKENS[name] for name in names]


def _cell(
    shape: Shape, context_length: int, prefix: list[str] | None, bf16: bool, files: dict[str, str]
) -> ImportedCell:
    """`prefix`: of a CLM; None: it is an MLM."""
    size = {known: name for name, known in STUDY_GRID.items()}.get(shape)
    known: dict[str, Any] = {
        "objective": "mlm" if prefix is None else "clm",
        "recipe": "study",
        "size": size or short_number(shape.n_params("study")),
        **vars(shape),
        "n_params": shape.n_params("study"),
        "n_params_total": shape.n_params_total("study"),
        "context_length": context_length,
        "precision": "bf16" if bf16 else "fp32",
        "files": files,
        "prefix": prefix or None,
    }
    return ImportedCell(**(_unknown(Cell) | known))


def _record(cell: Cell, source: str) -> RunRecord:
    known: dict[str, Any] = {
        "cell": cell.cell,
        "status": "imported",
        "reason": f"imported from {source}, not trained here",
        "steps": 0,  # made here
        "config": asdict(cell),
        "versions": {"plm-scaling": __version__},
    }
    return RunRecord(**(_unknown(RunRecord) | known))


def _unknown(kind: type) -> dict[str, Any]:
    """None for all that has no default."""
    return {field.name: None for field in fields(kind) if field.default is MISSING}
