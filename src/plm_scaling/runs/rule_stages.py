"""Which stage of a study each rule of the workflow belongs to, in the order in which they begin."""

from plm_scaling.slurm.endings import TRAINING

PLACING = "place_stage"
"""The rule that adds cells to a sweep; `TRAINING` trains one."""
STAGES = {
    "plan": ("record_config", "plan_sweep", "plan"),
    "sources": ("fetch_source", "verify_source", "verify_files", "clean_source"),
    "dedup": ("pool_part", "deduplicate", "split_clusters"),
    "filter": ("train_reference", "score_part", "select_sequences", "select_documents"),
    "tokens": ("tokenize_part", "merge_tokens", "check_contamination", "draw_data_figures"),
    "train": (PLACING, TRAINING),
    "laws": (
        "collect_runs",
        "collect_finished_runs",
        "collect_forecasts",
        "fit_law",
        "draw_figures",
    ),
    "downstream": (
        "fetch_task",
        "prepare_task",
        "write_tests",
        "expose_task",
        "make_untrained",
        "evaluate_model",
        "generate_proteins",
        "measure_proteins",
        "judge_proteins",
        "collect_downstream",
        "fit_downstream",
        "draw_downstream",
    ),
    "published": (
        "fetch_published",
        "import_published",
        "fit_published_law",
        "forecast_published",
        "draw_published_figures",
        "make_published_report",
    ),
    "report": ("make_report",),
}
STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}
"""Of every rule but the targets, which do nothing."""
