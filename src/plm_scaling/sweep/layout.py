"""How the processes of a training job divide a model and its batches."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Layout:
    """Model and batch over `processes` = tensor · pipeline · data processes.

    It changes speed and memory, and results by rounding alone, so it is no part of a cell.
    """

    backend: str
    """cpu (gloo) or cuda (nccl), one process per GPU."""
    tensor: int
    """Processes that share each layer's matrices (TP)."""
    pipeline: int
    """Groups of layers that follow one another (PP); 1 on the CPU."""
    data: int
    """Replicas, each on its share of the batch's rows (DP)."""
    micro_batch_rows: int
    """Rows of one forward and backward pass; the gradients of a step's passes are summed."""
    recompute: str
    """none, or full: activations are computed again in the backward pass; none on the CPU."""

    @property
    def processes(self) -> int:
        """Processes of the job."""
        return self.tensor * self.pipeline * self.data

    def to_json(self) -> str:
        """One line of JSON, as the training program takes it."""
        return json.dumps(asdict(self))
