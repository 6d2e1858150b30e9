"""Snakemake's logger `plm`: a line per stage in place of lines per job.

Snakemake finds loggers by the names of packages; `plm-scaling run` asks for this one.
"""

import sys
from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

__all__ = ["LogHandler", "LogHandlerSettings"]


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options of the command line: --logger-plm-…"""

    times: str = field(  # Snakemake's own parser takes no `Path | None`
        default="",
        metadata={
            "help": "table of the times of all jobs of a known run: lines say the time to its end",
            "env_var": False,
            "required": False,
            "metavar": "FILE",
        },
    )


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
        from plm_scaling.common.errors import ConfigError
        from plm_scaling.workflow.known_times import KnownTimes, read_known
        from plm_scaling.workflow.stage_lines import StageLines

        settings: Any = self.settings
        try:
            times = KnownTimes(read_known(Path(settings.times))) if settings.times else None
        except ConfigError as error:
            sys.exit(f"error: {error}")
        out = sys.stdout if self.common_settings.stdout else sys.stderr
        self._lines = StageLines(out, self.common_settings.dryrun, times)

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
