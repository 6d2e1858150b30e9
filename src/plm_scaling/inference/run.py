"""Open a finished run: its cell, its record and its model with the final weights."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.windows import Windows, windows
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.record import RunRecord, read_finished
from plm_scaling.tokens.format.vocabulary import encode
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from megatron.core.models.gpt import GPTModel  # noqa: E402

from plm_scaling.train.checkpoint.store import load_weights  # noqa: E402
from plm_scaling.train.data.batches import Batch  # noqa: E402
from plm_scaling.train.distributed.process import cpu_process  # noqa: E402
from plm_scaling.train.model.builder import build_model  # noqa: E402
from plm_scaling.train.model.losses import model_logits, model_output  # noqa: E402
from plm_scaling.train.model.segments import Segments  # noqa: E402


@dataclass(frozen=True)
class TrainedRun:
    """A finished run with its model, in evaluation mode on `device`."""

    folder: Path
    cell: Cell
    record: RunRecord
    model: GPTModel
    device: torch.device

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of all weights: what the model is, however it was stored."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.named_parameters()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def facts(self) -> dict[str, str]:
        """What tables that the model made say of it."""
        cell = {name: getattr(self.cell, name) for name in ("cell", "objective", "size")}
        return cell | {"weights": self.weights_sha256}

    def tokens(self, chunk: bytes) -> Tokens:
        """Tokens of a chunk of database entries, as `windows` takes them to lie."""
        return np.frombuffer(encode(chunk, start_token=self.cell.start_token), np.uint8)

    def windows(self, lengths: Ints) -> Windows:
        """The windows in which the model reads sequences of these lengths (residues)."""
        cell = self.cell
        return windows(lengths, cell.context_length, cell.objective, cell.start_token)

    def logits(self, rows: Tokens, sizes: Ints) -> torch.Tensor:
        """Logits [rows, width, vocabulary] of `rows` [rows, width] that begin with one sequence
        each, of `sizes` tokens; what follows changes nothing in it."""
        return model_logits(self.model, self._batch(rows, sizes))

    def states(self, rows: Tokens, sizes: Ints, layer: int) -> torch.Tensor:
        """Hidden states [rows, width, hidden] of such rows: of the embedding (`layer` 0), the
        output of layer k, or after the final norm (the last)."""
        decoder = self.model.decoder
        kept: list[torch.Tensor] = []

        def keep(module: Any, inputs: Any, output: Any) -> None:
            states = inputs if layer == 0 else output
            kept.append(states[0] if isinstance(states, tuple) else states)

        inner = 0 < layer < len(decoder.layers)
        handle = (decoder.layers[layer - 1] if inner else decoder).register_forward_hook(keep)
        batch = self._batch(rows, sizes)
        try:
            model_output(self.model, batch)
        finally:
            handle.remove()
        return batch.segments.unpack(kept[0][:, 0], batch.rows)

    def _batch(self, rows: Tokens, sizes: Ints) -> Batch:
        count, width = rows.shape
        starts = np.arange(count) * width
        if self.cell.objective == "clm":  # nothing sees what follows it: rows need no borders
            segments = Segments.of(starts, np.full(count, width), width)
        else:
            begins = np.stack([starts, starts + sizes], axis=1).ravel()
            lengths = np.stack([sizes, width - sizes], axis=1).ravel()
            segments = Segments.of(begins[lengths > 0], lengths[lengths > 0], width)
        inputs = torch.from_numpy(rows.astype(np.int64))
        no_loss = torch.zeros_like(inputs, dtype=torch.float32)
        return Batch(inputs, inputs, no_loss, segments).to(self.device)


@contextmanager
def open_run(folder: Path, threads: int, *, device: str | None = None) -> Iterator[TrainedRun]:
    """The run in `folder` (result.json, checkpoints/), on CUDA if there is or on `device`.

    Raises `RunsError` if it did not finish or its record is damaged, `TrainError` if its
    checkpoint is.
    """
    record, cell = read_finished(folder / "result.json")
    backend = device or ("cuda" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same sums in every run on CUDA
    layout = Layout(backend, 1, 1, 1, cell.batch_rows, "none")
    # One process with no other to talk to: its groups need no GPU, wherever the model is.
    with cpu_process(threads, cell.seed):
        model = build_model(cell, layout, device=backend)
        load_weights(folder, model)
        model.eval()
        with torch.no_grad():
            yield TrainedRun(folder, cell, record, model, torch.device(backend))


def find_run(cell: str) -> Path:
    """The folder of a run, given as itself or as the cell's id below results/*/runs.

    Raises `InferenceError` if there is none, or more than one.
    """
    if Path(cell).is_dir():
        return Path(cell)
    found = sorted(Path("results").glob(f"*/runs/{cell}")) if "/" not in cell else []
    if len(found) != 1:
        raise InferenceError(
            f"{cell}: neither a run folder nor the id of a cell below results/*/runs; "
            "`plm-scaling status` lists the cells"
            if not found
            else f"{cell} is in {', '.join(map(str, found))}; give one of these folders"
        )
    return found[0]
