"""One released file as a curve of one model, and which files are the same run."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from plm_scaling.cheng2024.logs.axes import Axis, Floats, Integers, loss_of, read_axis, read_points
from plm_scaling.cheng2024.logs.names import Named, read_name
from plm_scaling.cheng2024.logs.sizes import Size, size_named, size_of_folder
from plm_scaling.common.errors import RunsError

EXPORT_ROWS = 1000  # what the logging tool exports at most; longer curves are sub-sampled
SAME_LOSS = 1e-5  # nats/token; two runs of one recipe differ by 1e-3 and more
SHARED_POINTS = 5


@dataclass(frozen=True)
class LoggedCurve:
    """The points of one file: steps, tokens and losses in nats/token, of the model `size`."""

    named: Named
    sha256: str
    size: Size
    axis: Axis
    loss: Floats
    notes: tuple[str, ...]

    @property
    def steps(self) -> Integers:
        """Optimizer steps of the points."""
        return self.axis.steps

    @property
    def tokens(self) -> Integers:
        """Tokens seen at the points."""
        return self.axis.tokens

    @property
    def flops(self) -> Floats:
        """6·N·tokens with the corrected N."""
        return np.asarray(6.0 * self.size.n_params * self.tokens, dtype=np.float64)

    @property
    def folder_agrees(self) -> bool:
        """Whether the folder's size, if it has one, is the model's."""
        in_folder = size_of_folder(self.named.folder) if self.named.group == "sweep" else None
        return in_folder is None or in_folder.name == self.size.name


def read_log(path: str, content: bytes) -> LoggedCurve:
    """Read one file. Raises RunsError naming it where name and content cannot be reconciled."""
    named = read_name(path)
    size = size_named(named.size)
    if size is None:
        raise RunsError(
            f"{path}: size '{named.size}' is not known; add its shape to cheng2024/logs/sizes.py"
        )
    x, value = read_points(path, content)
    axis = read_axis(named, size, x)
    true_size, why = _reconcile(named, size, axis)
    notes = [*why, *axis.notes]
    if named.perplexity:
        notes.append("loss = ln of the logged perplexity")
    if len(x) == EXPORT_ROWS:
        notes.append(f"export sub-sampled to {EXPORT_ROWS} points")
    notes += [f"'{part}' in its name" for part in named.recipe]
    curve = LoggedCurve(
        named, hashlib.sha256(content).hexdigest(), true_size, axis,
        loss_of(named, value)[axis.kept], (),
    )  # fmt: skip
    if not curve.folder_agrees:
        notes.append(f"lies in folder '{named.folder}', is the {true_size.name} model")
    return replace(curve, notes=tuple(notes))


def _reconcile(named: Named, size: Size, axis: Axis) -> tuple[Size, list[str]]:
    """The model of a curve with `size` in its name and an axis computed with another N.

    A budget in the name decides, as 6·N·tokens must meet it and the tokens are known. Without one,
    an N that some model has is the model's (the axis is computed from the model that runs); an N
    that none has was put in by hand.
    """
    if axis.logged_n is None or (axis.logged and axis.logged.name == size.name):
        return size, []
    wrong = (
        f"FLOPs axis corrected: computed with N={axis.logged_n:.4g}"
        + (f" ({axis.logged.name})" if axis.logged else ", of no model")
        + f", not {size.n_params:.4g}"
    )
    if axis.logged is None:
        return size, [wrong]
    if named.flops is None:
        return axis.logged, [
            f"N from the FLOPs axis ({axis.logged.n_params:.4g}), not from the name '{named.size}'"
        ]
    spent = 6.0 * int(axis.tokens[-1])
    misses = [abs(np.log(spent * s.n_params / named.flops)) for s in (size, axis.logged)]
    if misses[0] <= misses[1]:
        return size, [f"{wrong}; with its own N it meets the {named.flops:g} FLOPs of its name"]
    return axis.logged, [f"N from the FLOPs axis: it meets the {named.flops:g} FLOPs of its name"]


def same_run(one: LoggedCurve, other: LoggedCurve) -> bool:
    """Whether two validation curves log the same run: equal losses at equal steps."""
    if (one.named.objective, one.size.name) != (other.named.objective, other.size.name):
        return False
    if one.axis.batch_rows != other.axis.batch_rows:
        return False
    _, here, there = np.intersect1d(one.steps, other.steps, return_indices=True)
    if len(here) < SHARED_POINTS:
        return False
    return bool(np.median(np.abs(one.loss[here] - other.loss[there])) < SAME_LOSS)
