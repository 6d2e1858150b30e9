"""Initial weights: a pure function of the cell, whatever processes the model is divided over."""

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from numpy.random import SeedSequence
from torch import Tensor
from torch.nn import Parameter

from plm_scaling.study.cell import Cell
from plm_scaling.study.shapes import VOCABULARY_SIZE

# Streams of a layer's seed; the embedding has that of layer 0.
EMBEDDING, QKV, PROJECTION, FC1, FC2 = range(5)


@torch.no_grad()
def initialise(model: GPTModel, cell: Cell) -> None:
    """Draw this process's part of the cell's weights; biases are 0, weights of norms 1.

    Each matrix is drawn whole in float32 from a generator of its own and then cut, on the CPU,
    whatever device it is for.

    `study`: normal(0, init_std), and the value rows, the attention projection and both MLP matrices
    times β = (2·L)^(-1/2), which goes with α = (2·L)^(1/2) in GLM-130B. The study's released
    configurations say DeepNorm and 0.02; that β is applied to a normal of that deviation, and not
    to Xavier's as in GLM-130B, is inferred. `prenorm`: normal(0, init_std), and the matrices that
    add to the residual stream divided by sqrt(2·L), as in Megatron-LM.
    """
    scale = (2.0 * cell.layers) ** -0.5
    study = cell.recipe == "study"
    hidden, ffn = cell.hidden, cell.ffn

    def draw(layer: int, stream: int, rows: int, columns: int) -> Tensor:
        (state,) = SeedSequence((cell.seed, layer, stream)).generate_state(1, "uint64")
        generator = torch.Generator().manual_seed(int(state))
        return torch.empty(rows, columns).normal_(0, cell.init_std, generator=generator)

    for layer in model.decoder.layers:
        number = layer.layer_number  # over all stages, from 1
        qkv = draw(number, QKV, 3 * hidden, hidden)
        fc1 = draw(number, FC1, 2 * ffn, hidden)
        if study:
            qkv.view(cell.heads, 3, -1, hidden)[:, 2].mul_(scale)
            fc1.mul_(scale)
        attention, mlp = layer.self_attention, layer.mlp
        _cut(qkv, attention.linear_qkv.weight)
        _cut(draw(number, PROJECTION, hidden, hidden).mul_(scale), attention.linear_proj.weight)
        _cut(fc1, mlp.linear_fc1.weight)
        _cut(draw(number, FC2, hidden, ffn).mul_(scale), mlp.linear_fc2.weight)
    if model.pre_process or model.post_process:
        embedding = draw(0, EMBEDDING, VOCABULARY_SIZE, hidden)
        _cut(embedding, model.shared_embedding_or_output_weight())


def _cut(whole: Tensor, part: Parameter) -> None:
    """Copy into a tensor-parallel part what it is of the whole matrix."""
    size = parallel_state.get_tensor_model_parallel_world_size()
    rank = parallel_state.get_tensor_model_parallel_rank()
    dimension, stride = part.partition_dim, part.partition_stride  # type: ignore[attr-defined]
    pieces = whole.chunk(size * stride, dimension)
    part.copy_(torch.cat(pieces[rank::size], dimension))
