"""The config block of the benchmarks: which, of which models, and how they are scored."""

from typing import Annotated, Literal

from pydantic import Field

from plm_scaling.config.numbers import Block, Count, Name, Number, Positive, Share


class Contacts(Block):
    """The regression that reads contacts off attention maps."""

    train: Count = 20
    """Proteins of the training split that the regression is fitted to (20 in Rao et al. 2021)."""
    penalty: Positive = 0.15
    """Inverse strength C of its L1 penalty (0.15 in Rao et al. 2021)."""
    separation: Count = 6
    """Pairs at least this far apart in the sequence train it (6 in Rao et al. 2021)."""


class Probe(Block):
    """Linear models of frozen embeddings."""

    layers: Annotated[list[int], Field(min_length=1)] = [-1]
    """Layers whose hidden states are tried: 0 token embeddings, k the output of layer k, -1 after
    the final norm. Where there are several, the validation items choose."""


class Lora(Block):
    """Low-rank adapters beside all linear layers of the blocks, trained for each benchmark."""

    rank: Count = 16
    """Of the adapters (16 in the study's scripts)."""
    alpha: Positive = 16.0
    """The adapters' share is alpha / rank (16 in the study's scripts; 32 for labels of sequences).
    """
    learning_rate: Positive = 1e-4
    """Highest, after 5 % of the steps; it falls linearly to 0 (1e-4 in the study's scripts)."""
    epochs: Count = 15
    """Passes over the training proteins (15 in the study's scripts)."""
    batch: Count = 1
    """Proteins to a step (1 for contacts, 16 for labels of sequences in the study's scripts)."""


class Drawn(Block):
    """How causal models make proteins."""

    number: Count = 1000
    """Proteins of each model."""
    temperature: Annotated[Number, Field(ge=0)] = 1.0
    """1: the model's own probabilities; below, the likely becomes likelier."""
    top_p: Share = 1.0
    """Draws from the likeliest residues that have this probability together; 1: from all."""
    max_length: Count | None = None
    """Residues after which a protein is cut; null: 512, or what the context holds."""


class Generation(Drawn):
    """Proteins that causal models make, how they are drawn, and what judges them."""

    cells: Count | None = None
    """Of the CLM cells that are evaluated so many, those of the lowest loss; null: all. Untrained
    cells of the same shapes, and public causal models, come with them."""
    perplexity_by: str | None = None
    """Another model, whose perplexity of the proteins is measured: a name in `models`, the id of a
    cell, or a folder. null: of an n-gram model alone."""
    esmfold: str | None = None
    """Folder of ESMFold (transformers, safetensors), which predicts structures; null: no pLDDT."""
    structures: str | None = None
    """Folder of known structures (PDB, mmCIF) that predicted ones are compared with, by Foldseek or
    tmtools, if one is installed; null: no TM-scores."""


class OwnDataset(Block):
    """A benchmark of one's own files; the keys are columns of resources/downstream.tsv."""

    task: str
    """fitness, contacts, secondary_structure, remote_homology, regression or ood_perplexity."""
    form: str
    """How the files are read, as in the table (fitness: proteingym_substitutions or
    proteingym_indels; else what describes them)."""
    split: str
    """Column or member that says which items train and test; "" where the files' names do."""
    metric: str
    """The score that stands for the dataset: spearman, p_at_l, q3, accuracy, nats_per_residue …"""
    files: Annotated[list[str], Field(min_length=1)]
    """Relative to the working directory, in the order that the task says (docs/downstream.md)."""


class TaskSettings(Block):
    """How models are scored; what of the block `downstream` a task reads."""

    contacts: Contacts = Contacts()
    probe: Probe = Probe()
    lora: Lora | None = None
    """Beside the frozen probes of structure and regression, scores of models that are fine-tuned by
    adapters, {rank: 16, alpha: 16, learning_rate: 1e-4, epochs: 15, batch: 1}; null: frozen alone.
    """


class Downstream(TaskSettings):
    """What models are good for: benchmarks of function and structure. Only the target `downstream`
    reads it."""

    datasets: list[Name] = []
    """Names in resources/downstream.tsv or `own`; [] for none."""
    cells: Literal["best", "frontier", "all"] | list[Name] = "frontier"
    """Which cells of each objective, recipe and corpus: best (the one of lowest loss) or frontier
    (the three of lowest loss of each budget, where they are within 0.03 nats per token of the
    best). Also all, or a list of ids; [] for none."""
    generation: Generation | None = None
    """Proteins that the causal models make, judged against the study's training set, {number: 1000,
    temperature: 1, top_p: 1, max_length: null, cells: null, perplexity_by: null, esmfold: null,
    structures: null}; null: none are made."""
    untrained: bool = True
    """true: also cells of the same shapes with their initial weights, as the floor of the scores.
    """
    models: dict[Name, str] = {}
    """Public models beside the cells: folders by name, {esm2-8m: models/esm2_t6_8M_UR50D}."""
    own: dict[Name, OwnDataset] = {}
    """Benchmarks of your own by name, {new: {task: ood_perplexity, form: fasta, split: "", metric:
    nats_per_residue, files: [new.fasta]}}; {} for none."""
