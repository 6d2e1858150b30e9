"""Event files for TensorBoard, on request (`training.tensorboard`)."""

import csv
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from plm_scaling.common.errors import TrainError
from plm_scaling.common.files import remove
from plm_scaling.study.layout import Layout

FLUSH_SECONDS = 10  # what is written is to be seen after


def check_tensorboard(layout: Layout) -> None:
    """Raise `TrainError` if event files are asked for and nothing is there to write them."""
    if layout.tensorboard and find_spec("tensorboard") is None:
        raise TrainError(
            "training.tensorboard: the package tensorboard is not installed; `pip install "
            "tensorboard` where cells are trained, or set it to false"
        )


class Events:
    """The numbers of steps.csv, and as `loss/{split}` the losses of curve.csv, as scalars.

    A start writes all of them again, in place of what there was, so that after a resume, too, they
    are those of the tables.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # needs an optional package

        remove(folder)
        # From step 0: a TensorBoard that is running forgets what it has read.
        self._writer = SummaryWriter(str(folder), purge_step=0, flush_secs=FLUSH_SECONDS)

    def write(self, step: int, values: Mapping[str, int | float | str | None]) -> None:
        """Add the values of a step by name; what is missing is left out."""
        for name, value in values.items():
            if value not in (None, ""):
                self._writer.add_scalar(name, float(value), step)

    def write_losses(self, step: int, losses: Mapping[str, float | str | None]) -> None:
        """Add the losses of a step by split."""
        self.write(step, {f"loss/{split}": loss for split, loss in losses.items()})

    def copy(self, steps: Path, curve: Path) -> None:
        """Add the rows of steps.csv and curve.csv."""
        for row in csv.DictReader(steps.read_text().splitlines()):
            self.write(int(row.pop("step")), row)
        for row in csv.DictReader(curve.read_text().splitlines()):
            self.write_losses(int(row["step"]), {row["split"]: row["loss"]})

    def close(self) -> None:
        self._writer.close()
