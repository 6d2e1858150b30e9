"""What lower loss is good for: published scores of the study's released models, and of others.

resources/downstream/published.tsv has the scores with their sources, proteingym_assays.tsv the
Spearman correlation of each assay, from which come standard errors over proteins.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from plm_scaling.common.errors import PlmScalingError
from plm_scaling.common.progress import short_number
from plm_scaling.laws.stats.assays import Average, average
from plm_scaling.report.parts.findings import Finding
from plm_scaling.report.parts.tables import DASH, count, text

FITNESS, NEW = "proteingym_substitutions", "new_below_0.5"
CONTACTS = {
    "contacts": "trRosetta",
    "contacts_cameo": "CAMEO",
    "contacts_casp14": "CASP14",
}
FAMILIES = {"study": "the study's", "esm2": "ESM-2", "progen2": "ProGen2"}
STUDY = "study"
RESAMPLES, SEED = 2000, 1
OF_ASSAY = ("assay", "protein", "selection_type")
OF_MODEL = ["model", "family", "objective", "n_params"]
COLUMNS = (*OF_MODEL, "loss", "perplexity", "dataset", "metric", "value", "standard_error")
CAVEAT = (
    "Whether the models are worse or the scoring does not fit them is open: as far as can be seen, "
    "ProteinGym's script gives these CLMs the bare sequence, without the two tokens (gmask, sop) "
    "that they read before every sequence in training. Only a run of the weights can tell."
)


@dataclass(frozen=True)
class Released:
    """The published scores and what the assays give: one row per model and dataset."""

    table: pd.DataFrame
    """COLUMNS, with `negative`, the share of assays of negative correlation; loss in nats/token,
    perplexity of new families (under 50 % identity to the study's training set)."""
    fitness: Average
    models: list[str]
    """Of `fitness`."""
    n_assays: int

    def change(self, one: str, other: str) -> str:
        """'−0.241 ± 0.015': the fitness of `other` less that of `one`."""
        difference, error = self.fitness.difference(
            self.models.index(other), self.models.index(one)
        )
        return f"{difference:+.3f} ± {error:.3f}".replace("-", "−")

    def of_study(self, objective: str) -> pd.DataFrame:
        """The fitness of the study's models with a loss, by falling loss."""
        rows = self.table[(self.table["family"] == STUDY) & (self.table["dataset"] == FITNESS)]
        own = rows[(rows["objective"] == objective) & rows["loss"].notna()]
        return own.sort_values("loss", ascending=False)


def read_released(published: Path, assays: Path) -> Released:
    """Both tables; raises PlmScalingError naming a missing file, and a model that only one has."""
    given, by_assay = _read(published), _read(assays)
    models = [str(name) for name in by_assay if name not in OF_ASSAY]
    spearman = given[given["dataset"] == FITNESS].set_index("model")
    if unknown := set(models) ^ set(map(str, spearman.index)):
        raise PlmScalingError(
            f"{assays}, {published}: {', '.join(sorted(unknown))}: a model must be in both"
        )
    fitness = average(
        by_assay[models].to_numpy(float), by_assay["protein"], by_assay["selection_type"],
        RESAMPLES, SEED,
    )  # fmt: skip
    scores = given[~given["dataset"].isin(["valid", "new_below_0.9", NEW])]
    table = scores.assign(
        loss=scores["model"].map(_values(given, "valid")),
        perplexity=scores["model"].map(_values(given, NEW)),
    )
    of_fitness = table["dataset"] == FITNESS
    errors = dict(zip(models, fitness.standard_error, strict=True))
    table["standard_error"] = table["model"].map(errors).where(of_fitness)
    table["negative"] = table["model"].map((by_assay[models] < 0).mean()).where(of_fitness)
    return Released(table[[*COLUMNS, "negative"]], fitness, models, len(by_assay))


def _values(given: pd.DataFrame, dataset: str) -> "pd.Series[float]":
    return given[given["dataset"] == dataset].set_index("model")["value"]


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise PlmScalingError(f"{path}: no such table of published scores")
    return pd.read_csv(path, sep="\t", comment="#")


def released_finding(released: Released) -> Finding:
    """Fitness and loss of the study's CLM, and what speaks for it."""
    clm, mlm = (released.of_study(objective) for objective in ("clm", "mlm"))
    first, last = clm.iloc[0], clm.iloc[-1]
    return Finding(
        "",
        False,
        f"The study's released CLMs of lower loss predict fitness worse: mean Spearman "
        f"{_list(clm['value'])} at losses of {_list(clm['loss'])} ({_sizes(clm)} parameters; "
        f"{released.change(first['model'], last['model'])} from the first to the last, standard "
        f"error over proteins). MLM: {_list(mlm['value'])} at {_list(mlm['loss'])} "
        f"({released.change(mlm.iloc[0]['model'], mlm.iloc[-1]['model'])}).",
        [CAVEAT],
    )


def released_sentences(released: Released) -> list[str]:
    """What the figure shows besides: the same on new families, and contacts."""
    table = released.table
    fitness = table[table["dataset"] == FITNESS].set_index("model")
    worst = released.of_study("clm").iloc[-1]
    other = fitness.loc["progen2-xlarge"]
    sentences = [
        f"On new families the CLM of {short_number(worst['n_params'])} is a better model of "
        f"sequences than ProGen2-xlarge (perplexity {worst['perplexity']:g} against "
        f"{other['perplexity']:g}), and far worse at fitness ({worst['value']:.3f} against "
        f"{other['value']:.3f}): its correlation is negative in {100 * worst['negative']:.0f} % of "
        f"the {released.n_assays} assays, that of ProGen2-xlarge in "
        f"{100 * other['negative']:.0f} %."
    ]
    for family in ("esm2", "progen2"):
        own = fitness[fitness["family"] == family].sort_values("n_params", kind="stable")
        best, largest = str(own["value"].idxmax()), str(own.index[-1])
        sizes = own["n_params"].to_dict()
        said = f"{FAMILIES[family]} is best at {count(sizes[best])} parameters"
        if best != largest:
            said += f" ({released.change(best, largest)} from there to the largest)"
        else:
            second = str(own.index[-2])
            said += f", its largest ({released.change(second, largest)} above the next)"
        sentences.append(f"{said}.")
    contacts = table[table["dataset"] == "contacts"].sort_values("n_params")
    sentences.append(
        "Contacts go on improving: ESM-2 finds "
        f"{', '.join(f'{100 * value:.0f}' for value in contacts['value'])} % of them (long range, "
        f"P@L) from {count(contacts['n_params'].iloc[0])} to "
        f"{count(contacts['n_params'].iloc[-1])} parameters."
    )
    return sentences


def released_rows(released: Released) -> list[dict[str, str]]:
    """One row per model: sizes, losses, fitness and contacts as text."""
    table = released.table
    by_model = table.pivot_table(index="model", columns="dataset", values="value", sort=False)
    fitness = table[table["dataset"] == FITNESS].to_dict("records")
    contacts = by_model["contacts"].to_dict()
    return [
        {
            "model": str(row["model"]),
            "objective": DASH if pd.isna(row["objective"]) else str(row["objective"]).upper(),
            "N": count(row["n_params"]),
            "loss": text(row["loss"], ".3f"),
            "perplexity, new families": text(row["perplexity"], ".1f"),
            "fitness": f"{row['value']:.3f} ± {row['standard_error']:.3f}",
            "negative assays": f"{100 * row['negative']:.0f} %",
            "contacts P@L": text(contacts.get(row["model"], np.nan), ".3f"),
        }
        for row in fitness
    ]


def _list(values: "pd.Series[float]") -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _sizes(rows: pd.DataFrame) -> str:
    return ", ".join(count(n) for n in rows["n_params"])
