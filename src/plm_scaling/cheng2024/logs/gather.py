"""Which files are one run: copies, the same losses on another axis, and its training log."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from plm_scaling.cheng2024.logs.curves import LoggedCurve, same_run
from plm_scaling.common.errors import RunsError

GROUPS = ("sweep", "scratch", "transfer", "pair", "repeated", "mask_ratio")  # preferred first
SAME_END = 0.02  # a training log ends where its run does


@dataclass
class LoggedRun:
    """The files of one training run: `files[0]` is the validation curve that is used."""

    files: list[LoggedCurve]
    training: LoggedCurve | None = None
    why: dict[str, str] = field(default_factory=dict)  # by path: what every other file is

    @property
    def curve(self) -> LoggedCurve:
        """The validation curve that is used: the one that goes furthest."""
        return self.files[0]

    @property
    def corpus(self) -> str:
        """unimeta200b or ur50."""
        return self.curve.named.corpus

    @property
    def source(self) -> tuple[str, float | None]:
        """Objective and FLOPs of the model that it starts from; ('', None) from scratch."""
        return self.curve.named.source, self.curve.named.source_flops

    @property
    def data_order(self) -> str:
        """How repeated data were shuffled, if a folder's name has it."""
        folders = " ".join(curve.named.folder for curve in self.files)
        orders = ("full_shuffle", "epoch_shuffle")
        return next((order.replace("_", "-") for order in orders if order in folders), "")


def gather(curves: Sequence[LoggedCurve]) -> tuple[list[LoggedRun], dict[str, str]]:
    """Group the files into runs; also return why a file belongs to none, by path.

    Raises RunsError if files with the same losses disagree on the corpus or on the source model.
    """
    runs: list[LoggedRun] = []
    for curve in sorted((c for c in curves if c.named.split == "valid"), key=_preference):
        run = next((run for run in runs if same_run(run.curve, curve)), None)
        if run is None:
            runs.append(LoggedRun([curve]))
            continue
        run.why[curve.named.path] = _relation(curve, run.files)
        run.files.append(curve)
        _check(run, curve)
    without_run = {}
    for curve in (c for c in curves if c.named.split == "train"):
        matches = list(_trained_with(curve, runs))
        if len(matches) != 1:
            without_run[curve.named.path] = f"fits {len(matches)} runs, so it belongs to none"
            continue
        if matches[0].training is not None:
            without_run[curve.named.path] = (
                f"its run has a training log: {matches[0].training.named.path}"
            )
            continue
        matches[0].training = curve
    return sorted(runs, key=lambda run: (GROUPS.index(_group(run)), run.curve.named.path)), (
        without_run
    )


def _group(run: LoggedRun) -> str:
    return min((curve.named.group for curve in run.files), key=GROUPS.index)


def _preference(curve: LoggedCurve) -> tuple[object, ...]:
    """Sort key: the longest curve, logged as loss, in the folder of its size, comes first."""
    named = curve.named
    return (
        -int(curve.steps[-1]), -len(curve.steps), named.perplexity, not curve.folder_agrees,
        GROUPS.index(named.group), "tensorboard" in named.path, named.path,
    )  # fmt: skip


def _facts(curve: LoggedCurve) -> tuple[object, ...]:
    named = curve.named
    return named.objective, curve.size.name, named.corpus, named.source, named.source_flops


def _relation(curve: LoggedCurve, others: Sequence[LoggedCurve]) -> str:
    for other in others:
        if other.sha256 == curve.sha256:
            return f"byte-identical to {other.named.path}"
    used = others[0]
    shorter = ", cut" if curve.steps[-1] < used.steps[-1] else ""
    return f"same run as {used.named.path}{shorter}"


def _check(run: LoggedRun, curve: LoggedCurve) -> None:
    if _facts(curve) != _facts(run.curve):
        raise RunsError(
            f"{curve.named.path}: has the losses of {run.curve.named.path}, but their names "
            "disagree on corpus or source model"
        )


def _trained_with(curve: LoggedCurve, runs: Iterable[LoggedRun]) -> Iterable[LoggedRun]:
    """The runs that a training log may belong to: by its facts, then by its own name."""
    alike = [
        run
        for run in runs
        if _facts(run.curve) == _facts(curve)
        and abs(run.curve.tokens[-1] / curve.tokens[-1] - 1) < SAME_END
    ]
    same_name = [
        run for run in alike if any(file.named.stem == curve.named.stem for file in run.files)
    ]
    return same_name or alike
