"""Initial weights: a pure function of the cell, whatever processes the model is divided over."""

import torch
from megatron.core.dist_checkpointing import ShardedTensor
from megatron.core.models.gpt import GPTModel
from numpy.random import SeedSequence
from torch import Tensor

from plm_scaling.study.cell import Cell
from plm_scaling.study.mup import scales_of
from plm_scaling.study.shapes import VOCABULARY_SIZE
from plm_scaling.train.checkpoint.sharded import sharded_model

# Streams of a layer's seed; the embedding has that of layer 0.
EMBEDDING, QKV, PROJECTION, FC1, FC2 = range(5)


@torch.no_grad()
def initialise(model: GPTModel, cell: Cell) -> None:
    """Draw this process's part of the cell's weights; biases and padding are 0, weights of norms 1.

    Each matrix is drawn whole in float32 from a generator of its own and then cut, on the CPU,
    whatever device it is for.

    Deviations before the factors: that of embeddings is init_std; that of matrices, too, with
    initialisation `normal`, and Xavier's, sqrt(2 / (inputs + outputs)), with `study`, where
    queries, keys, values, gate and up are matrices of their own.
    Factors: recipe `study` has β = (2·L)^(-1/2), which goes with α = (2·L)^(1/2), on the values,
    the attention projection and both MLP matrices; with initialisation `study` on the last third of
    the QKV rows and not the values, since the authors' code takes thirds of rows that are grouped
    by head. Recipe `prenorm` has it on the matrices that add to the residual stream, as in
    Megatron-LM. With muP its matrices have √(base width / width) times init_std.
    """
    scale = (2.0 * cell.layers) ** -0.5
    study, xavier = cell.recipe == "study", cell.initialisation == "study"
    hidden, ffn = cell.hidden, cell.ffn
    normal = cell.init_std * scales_of(cell).matrix_std
    of_attention = hidden**-0.5 if xavier else normal
    of_mlp = (2 / (hidden + ffn)) ** 0.5 if xavier else normal

    def draw(layer: int, stream: int, std: float, rows: int, columns: int) -> Tensor:
        (state,) = SeedSequence((cell.seed, layer, stream)).generate_state(1, "uint64")
        generator = torch.Generator().manual_seed(int(state))
        return torch.empty(rows, columns).normal_(0, std, generator=generator)

    parts = sharded_model(model)
    for index, layer in enumerate(model.decoder.layers):
        number = layer.layer_number  # over all stages, from 1
        qkv = draw(number, QKV, of_attention, 3 * hidden, hidden)
        projection = draw(number, PROJECTION, of_attention, hidden, hidden)
        fc1 = draw(number, FC1, of_mlp, 2 * ffn, hidden)
        fc2 = draw(number, FC2, of_mlp, hidden, ffn)
        if study:
            values = qkv[2 * hidden :] if xavier else qkv.view(cell.heads, 3, -1, hidden)[:, 2]
            values.mul_(scale)
            fc1.mul_(scale)
        for name, whole in {
            "self_attention.linear_qkv": qkv,
            "self_attention.linear_proj": projection.mul_(scale),
            "mlp.linear_fc1": fc1,
            "mlp.linear_fc2": fc2.mul_(scale),
        }.items():
            layer.get_parameter(f"{name}.weight").zero_()
            _cut(whole, parts[f"decoder.layers.{index}.{name}.weight"])
    if model.pre_process or model.post_process:
        first = "embedding.word_embeddings" if model.pre_process else "output_layer"
        embedding = draw(0, EMBEDDING, cell.init_std, VOCABULARY_SIZE, hidden)
        _cut(embedding, parts[f"{first}.weight"])


def _cut(whole: Tensor, parts: list[ShardedTensor]) -> None:
    """Copy what this process has of a whole matrix."""
    for part in parts:
        part.data.copy_(whole[part.global_slice()[part.prepend_axis_num :]])
