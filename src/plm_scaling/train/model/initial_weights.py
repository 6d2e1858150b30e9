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

    Deviations before the factors: that of embeddings is init_std; that of matrices, too, with
    initialisation `normal`, and Xavier's, sqrt(2 / (inputs + outputs)), with `study`, where
    queries, keys, values, gate and up are matrices of their own.
    Factors: recipe `study` has β = (2·L)^(-1/2), which goes with α = (2·L)^(1/2), on the values,
    the attention projection and both MLP matrices; with initialisation `study` on the last third of
    the QKV rows and not the values, since the authors' code takes thirds of rows that are grouped
    by head. Recipe `prenorm` has it on the matrices that add to the residual stream, as in
    Megatron-LM.
    """
    scale = (2.0 * cell.layers) ** -0.5
    study, xavier = cell.recipe == "study", cell.initialisation == "study"
    hidden, ffn = cell.hidden, cell.ffn
    of_attention = hidden**-0.5 if xavier else cell.init_std
    of_mlp = (2 / (hidden + ffn)) ** 0.5 if xavier else cell.init_std

    def draw(layer: int, stream: int, std: float, rows: int, columns: int) -> Tensor:
        (state,) = SeedSequence((cell.seed, layer, stream)).generate_state(1, "uint64")
        generator = torch.Generator().manual_seed(int(state))
        return torch.empty(rows, columns).normal_(0, std, generator=generator)

    for layer in model.decoder.layers:
        number = layer.layer_number  # over all stages, from 1
        qkv = draw(number, QKV, of_attention, 3 * hidden, hidden)
        projection = draw(number, PROJECTION, of_attention, hidden, hidden)
        fc1 = draw(number, FC1, of_mlp, 2 * ffn, hidden)
        fc2 = draw(number, FC2, of_mlp, hidden, ffn)
        if study:
            values = qkv[2 * hidden :] if xavier else qkv.view(cell.heads, 3, -1, hidden)[:, 2]
            values.mul_(scale)
            fc1.mul_(scale)
        attention, mlp = layer.self_attention, layer.mlp
        _cut(qkv, attention.linear_qkv.weight)
        _cut(projection.mul_(scale), attention.linear_proj.weight)
        _cut(fc1, mlp.linear_fc1.weight)
        _cut(fc2.mul_(scale), mlp.linear_fc2.weight)
    if model.pre_process or model.post_process:
        embedding = draw(0, EMBEDDING, cell.init_std, VOCABULARY_SIZE, hidden)
        _cut(embedding, model.shared_embedding_or_output_weight())


def _cut(whole: Tensor, part: Parameter) -> None:
    """Copy into a tensor-parallel part what it is of the whole matrix."""
    size = parallel_state.get_tensor_model_parallel_world_size()
    rank = parallel_state.get_tensor_model_parallel_rank()
    dimension, stride = part.partition_dim, part.partition_stride  # type: ignore[attr-defined]
    pieces = whole.chunk(size * stride, dimension)
    part.copy_(torch.cat(pieces[rank::size], dimension))
