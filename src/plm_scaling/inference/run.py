"""Open a finished run: its cell, its record and its model with the final weights."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plm_scaling.inference.arrays import Ints, Tokens
from plm_scaling.inference.models.describe import described_run
from plm_scaling.inference.models.model import Model
from plm_scaling.study.cell import Cell
from plm_scaling.study.layout import Layout
from plm_scaling.study.record import RunRecord
from plm_scaling.train.distributed.megatron import import_megatron

import_megatron()
from megatron.core.models.gpt import GPTModel  # noqa: E402

from plm_scaling.train.checkpoint.store import load_weights  # noqa: E402
from plm_scaling.train.data.batches import Batch  # noqa: E402
from plm_scaling.train.distributed.process import cpu_process  # noqa: E402
from plm_scaling.train.model.builder import build_model  # noqa: E402
from plm_scaling.train.model.fused import apply_rotary  # noqa: E402
from plm_scaling.train.model.losses import model_logits, model_output  # noqa: E402
from plm_scaling.train.model.segments import Segments  # noqa: E402


def _take(taken: list[Tensor], module: Any, given: tuple[Tensor, ...]) -> None:
    """A hook that keeps a module's first input."""
    taken.append(given[0])


@dataclass(frozen=True, kw_only=True)
class TrainedRun(Model):
    """A finished run, or an import, with its model."""

    folder: Path
    cell: Cell
    record: RunRecord
    network: GPTModel

    @property
    def facts(self) -> dict[str, str]:
        cell = {name: getattr(self.cell, name) for name in ("cell", "objective", "size")}
        return cell | {"weights": self.weights_sha256}

    def logits(self, rows: Tokens, sizes: Ints) -> Tensor:
        return model_logits(self.network, self._batch(rows, sizes))

    def states(self, rows: Tokens, sizes: Ints, layer: int) -> Tensor:
        decoder = self.network.decoder
        kept: list[Tensor] = []

        def keep(module: Any, inputs: Any, output: Any) -> None:
            states = inputs if layer == 0 else output
            kept.append(states[0] if isinstance(states, tuple) else states)

        inner = 0 < layer < len(decoder.layers)
        handle = (decoder.layers[layer - 1] if inner else decoder).register_forward_hook(keep)
        batch = self._batch(rows, sizes)
        try:
            model_output(self.network, batch)
        finally:
            handle.remove()
        states = kept[0][:, 0]
        if layer == len(decoder.layers):  # with muP's factor, as in an export
            states = states * self.network.logit_scale
        return batch.segments.unpack(states, batch.rows)

    def attentions(self, rows: Tokens, sizes: Ints) -> Iterator[Tensor]:
        network, batch = self.network, self._batch(rows, sizes)
        segments, width = batch.segments, rows.shape[1]
        channels = self.hidden // self.heads
        seen = torch.arange(width) < torch.from_numpy(sizes)[:, None]
        visible = seen[:, None, None].to(self.device)  # [rows, 1, 1, keys]
        if self.objective == "clm":
            visible = visible & torch.ones(width, width, device=self.device).bool().tril()
        states = network.embedding(segments.pack(batch.inputs)[None], position_ids=None)
        for layer in network.decoder.layers:
            taken: list[Tensor] = []
            core = layer.self_attention.core_attention
            handle = core.register_forward_pre_hook(partial(_take, taken))
            try:
                states, _ = layer(states, packed_seq_params=segments)
            finally:
                handle.remove()
            # The same products as in the layer, of which its kernels keep no weights.
            q, k, _ = apply_rotary(taken[0], *segments.rotary(channels, taken[0].dtype))
            q, k = (segments.unpack(part, batch.rows).transpose(1, 2).float() for part in (q, k))
            scores = q @ k.transpose(2, 3) / channels**0.5
            yield scores.masked_fill(~visible, float("-inf")).softmax(-1)

    def _batch(self, rows: Tokens, sizes: Ints) -> Batch:
        count, width = rows.shape
        starts = np.arange(count) * width
        if self.objective == "clm":  # nothing sees what follows it: rows need no borders
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
    described, record, cell = described_run(folder)
    backend = device or ("cuda" if torch.cuda.is_available() else "cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same sums in every run on CUDA
    layout = Layout(backend, 1, 1, 1, 1, "none")
    # One process with no other to talk to: its groups need no GPU, wherever the model is.
    with cpu_process(threads, seed=0):  # nothing is drawn: all weights are read
        network = build_model(cell, layout, device=backend, initial_weights=False)
        load_weights(folder, network)
        network.eval()
        with torch.no_grad():
            yield TrainedRun(
                **vars(described),
                network=network,
                device=torch.device(backend),
                folder=folder,
                cell=cell,
                record=record,
            )
