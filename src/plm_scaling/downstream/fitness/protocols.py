"""What scores of mutants a model gives, by its objective; see `zero_shot` of how."""

from plm_scaling.common.errors import DownstreamError

MASKED, UNMASKED = "masked_marginals", "wild_type_marginals"
LIKELIHOOD, PER_RESIDUE = "llr", "llr_per_residue"


def protocols_of(objective: str, indels: bool) -> list[str]:
    """The scores by name. Raises `DownstreamError` for indels by a masked model, in which no
    position of the wild type stands for a changed one."""
    if objective == "clm":
        return [LIKELIHOOD, PER_RESIDUE] if indels else [LIKELIHOOD]
    if indels:
        raise DownstreamError(
            "insertions and deletions need the likelihood of whole sequences, which a masked "
            "model has none of; take a CLM"
        )
    return [MASKED, UNMASKED]
