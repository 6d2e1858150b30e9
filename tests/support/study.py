"""A whole study of synthetic runs, fitted and with the tables the data stages would have made."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic
from source_tables import write_table

from plm_scaling.common.counts import Counts
from plm_scaling.filter.overlap import COLUMNS as OVERLAP_COLUMNS
from plm_scaling.filter.thresholds import Histograms, LengthBins, steps_of
from plm_scaling.forecasts.asked import Asked
from plm_scaling.forecasts.outcomes import collect_forecasts
from plm_scaling.forecasts.record import Forecast
from plm_scaling.forecasts.task import Task
from plm_scaling.laws.details import not_available
from plm_scaling.laws.fit import fit_law
from plm_scaling.laws.settings import Settings
from plm_scaling.runs.collect import collect_runs
from plm_scaling.study.record import RunRecord
from plm_scaling.study.sweep_table import read_sweep

SOURCES = ("uniref_part", "metagenome_part")


def fitted_study(folder: Path, **settings: object) -> dict[str, object]:
    """Write and fit a study in `folder`: both laws, both objectives; return figure arguments."""
    synthetic.write_study(folder, **settings)  # type: ignore[arg-type]
    runs, curves = folder / "runs.csv", folder / "curves.parquet"
    evaluations = folder / "evaluations.csv"
    collect_runs(folder / "sweep.tsv", folder / "runs", 1, runs, curves, evaluations)
    forecasts = folder / "forecasts.csv"
    write_forecasts(folder)
    collect_forecasts(folder / "forecasts", runs, curves, forecasts)
    laws = []
    for objective in ("clm", "mlm"):
        for law in ("isoflop", "parametric"):
            laws.append(folder / "laws" / f"{objective}.{law}.json")
            fit_law(law, runs, laws[-1], objective, "demo", settings=Settings(bootstrap=200))
    tables = {"runs": runs, "curves": curves, "evaluations": evaluations}
    tables["forecasts"] = forecasts
    return {**tables, "laws": laws, "out": folder / "figures"}


def write_forecasts(folder: Path) -> None:
    """Forecasts of the cells of the largest budget: the last of an objective is off."""
    cells = read_sweep(folder / "sweep.tsv")
    largest = max(cell.flops_budget for cell in cells.values())
    for name, cell in cells.items():
        if cell.flops_budget < largest:
            continue
        record = RunRecord.read(folder / "runs" / name / "result.json")
        off = 0.1 if cell.n_params > 5 * min(c.n_params for c in cells.values()) else 0.0
        loss = {"predicted": record.loss + off, "low": record.loss + off - 0.05}
        loss |= {"high": record.loss + off + 0.05, "law": "parametric", "status": "done"}
        loss |= {"law_interval": (1.0, 2.0), "run_sd": 0.01, "hindcast_rms": 0.01}
        task = Task(cell, "new_largest_budget", {}, ["a", "b"], folder, Asked([], [], 1, 1e-3))
        made = Forecast(
            **task.facts() | {"cell": name},
            runs=task.runs,
            runs_sha256="0",
            loss=loss | {"hindcast_runs": 3},
            best_size=not_available("two minima are needed"),
            curve=[{"share": 1.0, **{n: loss[n] for n in ("predicted", "low", "high")}}],
        )
        made.write(folder / "forecasts" / f"{name}.json")


def write_data_tables(folder: Path) -> dict[str, object]:
    """Write counts, tables of the filter, contamination, manifest, sources; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drops = {
        "clean": {"duplicate_id": 0},
        "dedup": {"near_duplicate": 900},
        "filter": {"too_short": 120, "low_complexity": 60, "perplexity_too_high": 90},
    }
    left, counts = 6000, []
    for stage, reasons in drops.items():
        table = Counts(stage)
        kept = left - sum(reasons.values())
        for source in SOURCES:
            table.add(source, "in", left, 350 * left)
            table.add(source, "kept", kept, 350 * kept)
            for reason, number in reasons.items():
                table.add(source, reason, number, 350 * number)
            if stage == "clean":
                table.add(source, "handled:lower_case", 12, 4200)
        counts.append(folder / f"{stage}.counts.tsv")
        table.write(counts[-1])
        left = kept
    write_filter_tables(folder / "filter")
    tokens = {"rows": 1500, "tokens": 1_500_000, "sequences": 4700, "shards": []}
    strata = {"kind": "protein", "strata": {"kept": tokens, "filtered": tokens}}
    documents = {
        "contamination": {
            "passed": True,
            "criteria": {
                **{"min_seq_id": 0.5, "coverage": 0.8},
                **{"check_sensitivity": 7.5, "e_value": 0.001},
            },
            "max_leaked_fraction": 0.02,
            "training_sequences": 8700,
            "mmseqs": "18-8cc5c",
        },
        "manifest": {"splits": {"train": {"sources": dict.fromkeys(SOURCES, strata)}}},
        "tool": {"mmseqs": "18-8cc5c"},
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    (folder / "leakage.tsv").write_text(
        "held_out\tidentity\tsequences\tresidues\tresidues_testable\tresidues_in_30mers\t"
        "residues_aligned\tcovered_by_one\tcovered_together\n"
        "valid\t>=0.9\t20\t4000\t3000\t600\t3200\t4\t7\n"
        "valid\tnone\t290\t76000\t75000\t0\t0\t0\t0\n"
        "ood\tnone\t1\t9\t0\t0\t0\t0\t0\n"
    )
    used = {"release": "2024_01", "url": "file:a", "bytes": "9", "checksum": f"md5:{'ab' * 16}"}
    rows = [{"name": name, **used, "role": "demo"} for name in SOURCES]
    unused = {"name": "elsewhere", "url": "file:b", "licence": "CC0", "role": "full study"}
    write_table(folder / "sources.tsv", *rows, unused)
    examples = folder / "examples.tsv"
    examples.write_text(
        "source\treason\tid\tlength\tnll_per_residue\tresidues\n"
        f"{SOURCES[0]}\tperplexity_too_low\tP1\t120\t2.7\tMKVLAEXAMPLE\n"
    )
    return {
        "counts": counts,
        "leakage": folder / "leakage.tsv",
        "examples": examples,
        **{n: folder / f"{n}.json" for n in documents},
    } | {
        "filter": folder / "filter",
        "sources": folder / "sources.tsv",
    }


def write_filter_tables(folder: Path) -> None:
    """What selection writes for the figures, with scores drawn at random."""
    rng = np.random.default_rng(0)
    bins = LengthBins([0, 100, 400])
    histograms = Histograms(list(SOURCES), bins)
    length = rng.integers(30, 900, 4000)
    nll = rng.normal(2.86, 1 / np.sqrt(length))
    histograms.add(np.arange(4000) % 2, length, steps_of(nll))
    histograms.write(folder / "perplexity.tsv", histograms.limits(0.02, 0.98))
    rows = [
        (source, verdict, low, masked, number, number / 1100, 300 * number, 20 * number)
        for source in SOURCES
        for verdict, many in (
            ("kept", 1000),
            ("perplexity_too_low", 60),
            ("perplexity_too_high", 40),
        )
        for low, masked, number in (
            (False, False, many - 16),
            (False, True, 10),
            (True, False, 2),
            (True, True, 4),
        )
    ]
    table = pd.DataFrame(rows, columns=list(OVERLAP_COLUMNS))
    table.to_csv(folder / "overlap.tsv", sep="\t", index=False)
