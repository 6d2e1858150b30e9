"""What proteins begin with, and how long they may become: refused, if it cannot be, before PyTorch
is imported."""

from typing import NamedTuple

import numpy as np

from plm_scaling.common.errors import InferenceError
from plm_scaling.common.progress import many
from plm_scaling.inference.arrays import Tokens
from plm_scaling.inference.generation.options import MAX_LENGTH, Sampling
from plm_scaling.inference.models.description import Description
from plm_scaling.tokens.format.vocabulary import RESIDUES


class Beginning(NamedTuple):
    """Tokens in front of what is drawn, residues of a protein at most (those of the prompt
    included), and tokens of a row at most."""

    prompt: Tokens
    max_length: int
    width: int


def begun(model: Description, sampling: Sampling, first: bool) -> Beginning:
    """How proteins of a model begin; `first`: whether frequencies of first residues are given.
    Raises `InferenceError` naming the option that cannot be."""
    sampling.check()
    if other := sorted(set(sampling.prompt) - set(RESIDUES)):
        raise InferenceError(
            f"--prompt {sampling.prompt}: {', '.join(other)} is no residue; "
            "give capital letters of residues"
        )
    if model.objective != "clm":
        raise InferenceError(
            f"{model.name} is an MLM: it fills masks and gives no probability of a next "
            "residue; take a CLM"
        )
    begins = model.tokens(sampling.prompt.encode() + b"\n\0")[:-1]
    prompt: Tokens = np.array([*model.alphabet.row_prefix, *begins], np.uint8)
    if first and len(prompt):
        raise InferenceError(
            "--first is for proteins that begin with nothing: this model or --prompt says how "
            "they begin; leave it out"
        )
    if not first and not len(prompt):
        raise InferenceError(
            f"{model.name} was trained without start token and says nothing of the first "
            "residue; give --prompt, or --first with a FASTA file of training sequences, whose "
            "first residues are then drawn from"
        )
    prompted = len(sampling.prompt)
    before = len(prompt) - prompted
    holds = model.context_length - before
    max_length = sampling.max_length or min(MAX_LENGTH, holds)
    if not prompted < max_length <= holds:
        raise InferenceError(
            f"--max-length is {max_length}; it must be above the {many(prompted, 'residue')} "
            f"of the prompt and at most {holds}, the model's context of "
            f"{model.context_length} tokens"
        )
    return Beginning(prompt, max_length, before + max_length)
