"""A score of a model on a dataset, as every task gives it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A row of scores.csv, less what the model and the dataset are.

    `value` is None where the metric is not defined, as for constant predictions; never 0.
    `standard_error` is that of a bootstrap over the groups (assays, proteins), `floor` the same
    metric of the task's baseline (random, BLOSUM62, one-hot), measured or known, `reference` that
    of natural proteins, where proteins are made. `layer` is that of
    the hidden states, where the task takes some. A row of one group alone (an assay) names it in
    `group`: such rows go to groups.csv.
    """

    protocol: str  # masked_marginals, llr, contacts_long, ridge …
    metric: str  # spearman, auc, mcc, ndcg, top_recall, p_at_l, accuracy, perplexity …
    value: float | None
    standard_error: float | None
    n_items: int
    n_groups: int
    layer: int | None = None
    floor: float | None = None
    reference: float | None = None
    note: str = ""
    group: str = ""
