"""Training FLOPs of a cell, by the study's convention and counted exactly."""

from plm_scaling.study.shapes import VOCABULARY_SIZE, Shape


def training_flops(n_params: int, tokens: int) -> float:
    """C = 6·N·D with N non-embedding parameters and D tokens: the study's convention."""
    return 6.0 * n_params * tokens


def exact_training_flops(shape: Shape, tokens: int, context_length: int, objective: str) -> float:
    """Matrix products of forward and backward (twice the forward) over `tokens` tokens.

    Per token forward: 2·L(4d² + 3df) for the layers, 4·L·d·s for attention scores and values over
    a context of s tokens (half of it on average when causal), 2·V·d for the output. Attention is
    counted over whole rows; sequences shorter than a row cost less. With a vocabulary this small
    and models this small, attention is a large share (unlike 6·N·D, which leaves it out).
    """
    d, layers = shape.hidden, shape.layers
    attended = mean_attended(context_length, objective)
    per_token = (
        2 * layers * (4 * d * d + 3 * d * shape.ffn)
        + 4 * layers * d * attended
        + 2 * VOCABULARY_SIZE * d
    )
    return 3.0 * per_token * tokens


def mean_attended(length: int, objective: str) -> float:
    """Tokens that a token of a segment of `length` attends to, on average."""
    return (length + 1) / 2 if objective == "clm" else length


def attention_flops(shape: Shape, pairs: float) -> float:
    """The part of `exact_training_flops` for scores and values of so many pairs of tokens."""
    return 3.0 * 4 * shape.layers * shape.hidden * pairs
