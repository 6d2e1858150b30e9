"""The facts in the path of a released log, by one pattern per kind of folder.

They are not trusted: sizes, budgets and folders are checked against the curves.
"""

import re
from dataclasses import dataclass, field

from plm_scaling.common.errors import RunsError

NUMBER = r"\d+(?:\.\d+)?(?:e\d+)?"
ROOT = r"data/training_logs"
TAG = (
    r"-tag-lm-loss-"
    r"(?:validation_valid_lm loss validation(?P<ppl> ppl)?|(?P<train>training)_lm loss)"
    r" vs (?P<axis>gigaflos \(without embeddings\)|tokens|samples)(?: \(1\))?\.csv"
)
STEM = (
    r"(?P<prefix>dep-)?run-(?:tensorboard_)?"
    rf"(?P<model>gpt|mlm)_(?P<size>{NUMBER}[MBbm])_(?P<rest>.+?)"
)
MOVED = (
    rf"run-(?P<model>gpt|mlm)(?P<budget>{NUMBER})_transfer_from_"
    rf"(?P<source>gpt|mlm)(?P<source_budget>{NUMBER})_(?P<size>{NUMBER}[MBb])(?P<rest>_2)?(?:\.sh)?"
)
PATTERNS = {
    "sweep": (
        rf"{ROOT}/(?:gpt|mlm)_valid/approach3_flops/(?P<folder>{NUMBER}[MB])(?:_flops)?/{STEM}{TAG}"
    ),
    "scratch": rf"{ROOT}/transfer_valid/(?:gpt|mlm)/(?:ft|scratch|tokens)/{STEM}{TAG}",
    "transfer": rf"{ROOT}/transfer_valid/(?:gpt|mlm)/(?:ft|tokens)/{MOVED}{TAG}",
    "pair": (
        rf"{ROOT}/transfer_valid/(?P<model>mlm)/(?P<axis>tokens)/(?P<size>{NUMBER}[MB])"
        rf"_(?P<budget>{NUMBER})(?:_(?P<source>clm)_pretrain_(?P<source_budget>{NUMBER}))?\.csv"
    ),
    "repeated": (
        rf"{ROOT}/ur50_(?P<epochs>all1ep)_(?:training|valid)_loss/(?P<folder>[^/]+)/{STEM}{TAG}"
    ),
    "mask_ratio": rf"{ROOT}/mask_ratio_data/(?P<size>{NUMBER}M)/mask_(?P<mask_ratio>0\.\d\d)\.csv",
}
AXES = {"gigaflos (without embeddings)": "gflops", "tokens": "tokens", "samples": "samples"}
OBJECTIVES = {"gpt": "clm", "clm": "clm", "mlm": "mlm"}

# Parts of a run's name after its size. What is not used is still known, or the name is not.
PARTS = {
    "flops": rf"({NUMBER})flops|(\d(?:\.\d+)?e\d\d)",
    "epochs": rf"(?:all)?({NUMBER})ep",
    "batch": r"bsz(250k|256|0\.5M|0\.5m|1m)",
    "corpus": r"(ur50)",
    "variant": r"([2-9])",
    "recipe": (
        rf"(wu10|fix|lr{NUMBER}(?:e-\d)?|noreg|bf16|scratch|overfit|1024l?|cl1024|tk\d+b|pg2xlg)"
    ),
}
BATCH_ROWS = {"250k": 256, "256": 256, "0.5M": 512, "0.5m": 512, "1m": 1024}


@dataclass(frozen=True)
class Named:
    """The facts in a path. FLOPs and epochs (of 200e9 tokens) are the planned budget, if named."""

    path: str
    group: str  # a key of PATTERNS
    objective: str
    size: str
    axis: str  # gflops, tokens, samples, iterations
    split: str  # valid, train
    perplexity: bool = False
    stem: str = ""  # the run's own name
    folder: str = ""
    corpus: str = "unimeta200b"
    flops: float | None = None
    epochs: float | None = None
    batch_rows: int | None = None
    source: str = ""  # objective of the model that it starts from
    source_flops: float | None = None
    mask_ratio: float | None = None
    recipe: tuple[str, ...] = field(default=())
    skipped_by_notebook: bool = False


def read_name(path: str) -> Named:
    """Take a path apart. Raises RunsError naming it if no pattern fits, or a part does not."""
    for group, pattern in PATTERNS.items():
        match = re.fullmatch(pattern, path)
        if match:
            return _named(path, group, match.groupdict())
    raise RunsError(
        f"{path}: fits no known pattern of a released log; remove it, or add its pattern to "
        "cheng2024/logs/names.py"
    )


def _named(path: str, group: str, found: dict[str, str | None]) -> Named:
    parts = _parts(path, found.get("rest") or "")
    folder = found.get("folder") or ""
    whole_name = parts["flops"] or parts["epochs"]  # a name with a budget also has the corpus
    on_ur50 = parts["corpus"] or (folder.startswith("ur50_") and not whole_name)
    file = path.rsplit("/", 1)[1]
    return Named(
        path=path,
        group=group,
        objective="mlm" if group == "mask_ratio" else OBJECTIVES[found["model"] or ""],
        size=found["size"] or "",
        axis="iterations" if group == "mask_ratio" else AXES[found["axis"] or "tokens"],
        split="train" if found.get("train") else "valid",
        perplexity=bool(found.get("ppl")),
        stem=re.sub(r"^(dep-)?run-(tensorboard_)?|-tag-.*$|\.csv$", "", file),
        folder=folder,
        corpus="ur50" if on_ur50 else "unimeta200b",
        flops=_number(found.get("budget") or parts["flops"]),
        epochs=_number(parts["epochs"] or (found.get("epochs") and "1")),
        batch_rows=BATCH_ROWS.get(parts["batch"]),
        source=OBJECTIVES.get(found.get("source") or "", ""),
        source_flops=_number(found.get("source_budget")),
        mask_ratio=_number(found.get("mask_ratio")),
        recipe=tuple(part for part in ("wu10", "fix") if part in (found.get("rest") or "")),
        skipped_by_notebook=bool(found.get("prefix")),
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _parts(path: str, rest: str) -> dict[str, str]:
    """The parts of a run's name by kind, empty where it has none."""
    parts = dict.fromkeys(PARTS, "")
    for part in rest.strip("_").split("_") if rest else []:
        for kind, pattern in PARTS.items():
            match = re.fullmatch(pattern, part)
            if match:
                parts[kind] = next(group for group in match.groups() if group)
                break
        else:
            raise RunsError(
                f"{path}: part '{part}' of its name is not known; add it to PARTS in "
                "cheng2024/logs/names.py"
            )
    return parts
