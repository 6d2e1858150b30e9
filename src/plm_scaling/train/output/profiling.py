"""A short profile of training steps, on request."""

from pathlib import Path

import torch

from plm_scaling.common.files import atomic

WARM_UP_STEPS = 5  # steps before the profile: the first ones allocate and compile
TABLE_ROWS = 40


class StepProfile:
    """Profiles `steps` steps, from the sixth of this start on; nothing when `steps` is 0.

    Writes trace.json (for chrome://tracing or perfetto) and table.txt (operations by time) into
    `folder`. It watches; the losses stay as they are.
    """

    def __init__(self, steps: int, folder: Path) -> None:
        self.folder = folder
        self.steps = steps
        self.profiler: torch.profiler.profile | None = None
        if steps:
            self.profiler = torch.profiler.profile(
                schedule=torch.profiler.schedule(
                    wait=WARM_UP_STEPS - 1, warmup=1, active=steps, repeat=1
                ),
                on_trace_ready=self._write,
            )

    def __enter__(self) -> "StepProfile":
        if self.profiler:
            self.profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.profiler:
            self.profiler.stop()

    def step(self) -> None:
        """To be called after every step."""
        if self.profiler:
            self.profiler.step()

    def _write(self, profile: torch.profiler.profile) -> None:
        with atomic(self.folder / "trace.json") as temporary:
            profile.export_chrome_trace(str(temporary))
        by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = profile.key_averages().table(sort_by=by, row_limit=TABLE_ROWS)
        with atomic(self.folder / "table.txt") as temporary:
            temporary.write_text(f"{self.steps} training steps\n{table}\n")
