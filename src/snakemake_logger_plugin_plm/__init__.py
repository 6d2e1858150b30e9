"""Snakemake's logger `plm`: a line per stage in place of lines per job.

Snakemake finds loggers by the names of packages; `plm-scaling run` asks for this one.
"""

import sys
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase

__all__ = ["LogHandler"]


class LogHandler(LogHandlerBase):
    """Hands what Snakemake says to `plm_scaling.workflow.stage_lines`.

    Not imported before Snakemake speaks: it imports this package at every start, whichever logger
    is asked for.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        from plm_scaling.workflow.stage_lines import StageLines

        out = sys.stdout if self.common_settings.stdout else sys.stderr
        self._lines = StageLines(out, dry=self.common_settings.dryrun)

    def emit(self, record: LogRecord) -> None:
        try:
            self._lines.take(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        lines: Any = getattr(self, "_lines", None)
        if lines is not None:
            lines.close()
        super().close()
