"""How well other models predict proteins."""

import numpy as np

from plm_scaling.common.progress import Progress
from plm_scaling.downstream.generation.counts import Doubles
from plm_scaling.downstream.generation.proteins import Proteins
from plm_scaling.filter.reference import ReferenceModel


def nats_of(model: ReferenceModel, proteins: Proteins) -> Doubles:
    """Nats per residue of each protein, chunk by chunk."""
    progress = Progress(f"judge: {model.name or 'n-gram'}", proteins.count(), "proteins")
    nats: list[Doubles] = []
    for chunk in proteins.chunks(model.chunk_residues):
        nats.append(model.nll_per_residue(chunk.entries, chunk.lengths))
        progress.add(chunk.count())
    return np.concatenate(nats)


def nats_by(name: str, proteins: Proteins, threads: int) -> Doubles:
    """The same by the model `name` (see `open_model`), over the 20 amino acids."""
    from plm_scaling.inference.models.open import open_model  # PyTorch, which counts need not
    from plm_scaling.inference.scoring.scorer import Scorer

    with open_model(name, threads) as model:
        return nats_of(Scorer(model, fast=model.objective == "mlm", amino_acids=True), proteins)
