"""What every program in `scripts/` shares: command line, log file, one message on failure."""

import dataclasses
import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from plm_scaling.common.errors import PlmScalingError

if TYPE_CHECKING:
    from cyclopts import App, Token

logger = logging.getLogger("plm_scaling")


def _say_nothing_of_interrupts(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


# Ctrl-C reaches every running program; who pressed it needs no traceback from each. Set here and
# not in `run`, so that it holds during the seconds that the imports of a trainer take.
sys.excepthook = _say_nothing_of_interrupts


def run(function: Callable[..., Any], rank: int = 0) -> None:
    """Call `function` with the options of the command line (`read_options`), and exit.

    `--log FILE` is added to every program: the log receives everything, the terminal only
    progress (level INFO). A `PlmScalingError` ends the program with exit code 1 and its message;
    so does any other exception, with the traceback in the log (on the terminal without `--log`).
    Of a job of several processes, those with a `rank` above 0 log to FILE.RANK and say nothing but
    warnings and errors.
    """
    call, asked = read_options(function, sys.argv[1:])
    log: Path | None = asked.arguments.pop("log", None)
    if rank and log is not None:
        log = log.with_name(f"{log.name}.{rank}")
    start_logging(log, logging.WARNING if rank else logging.INFO)
    logger.debug("command: %s", " ".join(sys.argv))
    try:
        call(*asked.args, **asked.kwargs)
    except PlmScalingError as error:
        logger.debug("%s", traceback.format_exc())
        logger.error("error: %s", error)
        sys.exit(1)
    except Exception as error:
        if log is None:
            raise
        logger.debug("%s", traceback.format_exc())
        logger.error("error: %s: %s (traceback in %s)", type(error).__name__, error, log)
        sys.exit(1)


def read_options(
    function: Callable[..., Any], words: Sequence[str]
) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """What `words` ask to call (`function`, or its help) and with what.

    Options that may be left out may also have no value: rules pass what may be nothing.
    """
    app = command_line(function)
    arguments = app.assemble_argument_collection()
    optional = {name for one in arguments if not one.required for name in one.names}
    said = [word for word in words if word]
    valued = [
        word
        for word, after in zip(said, [*said[1:], "--"], strict=True)
        if not (word in optional and after.startswith("--"))
    ]
    return parse(app, valued)


def command_line(function: Callable[..., Any]) -> "App":
    """The options that the signature of `function` declares: `min_length` is `--min-length`.

    `Args:` in its docstring is their help, the docstring of the program that of the whole. A list
    takes all words up to the next option, the fields of a dataclass are options of their own, a
    block of the config is given in JSON, and what has a function for its value cannot be given.
    """
    from cyclopts import App, Parameter

    def option(given: inspect.Parameter) -> inspect.Parameter:
        hint, how = given.annotation, Parameter(show_default=bool(given.default))
        if hasattr(hint, "model_validate_json"):
            how = Parameter(converter=_block, accepts_keys=False, n_tokens=1)
        elif dataclasses.is_dataclass(hint):
            how = Parameter(name="*")
        elif get_origin(hint) in (list, Sequence):
            how = Parameter(consume_multiple=(1, None), show_default=False)
        return given.replace(kind=given.KEYWORD_ONLY, annotation=Annotated[hint, how])

    def command(**options: Any) -> None:
        function(**options)

    log = Parameter(help="also write messages and tracebacks to this file")
    given = inspect.signature(function, eval_str=True).parameters.values()
    command.__doc__, command.__annotations__ = function.__doc__, {}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(option(one) for one in given if Callable not in _types(one.annotation)),
            inspect.Parameter(
                "log",
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[Path | None, log],
            ),
        ]
    )
    app = App(
        help=sys.modules["__main__"].__doc__,
        help_format="plaintext",
        version_flags=[],
        default_parameter=Parameter(negative=(), json_list=False),
    )
    app.default(command)
    return app


def parse(app: "App", words: Sequence[str]) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """What `words` ask to call, and with what; one line and exit code 2 where they are wrong."""
    from cyclopts import CycloptsError

    try:
        call, asked, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        print(f"error: {' '.join(str(error).split())} (see --help)", file=sys.stderr)
        sys.exit(2)
    return call, asked


def _block(kind: Any, tokens: Sequence["Token"]) -> Any:
    """A block of the config from JSON."""
    from pydantic import ValidationError

    try:
        return kind.model_validate_json(tokens[0].value)
    except ValidationError as error:
        problems = [(*problem["loc"], problem["msg"]) for problem in error.errors()]
        raise ValueError("; ".join(": ".join(map(str, one)) for one in problems)) from error


def _types(hint: Any) -> set[Any]:
    return {get_origin(part) for part in (hint, *get_args(hint))}


def start_logging(log: Path | None, terminal_level: int = logging.INFO) -> None:
    """Send `terminal_level` and above to the terminal and everything to `log`."""
    logger.setLevel(logging.DEBUG)
    logger.handlers.clear()
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(terminal_level)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(terminal)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log, mode="w")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)
