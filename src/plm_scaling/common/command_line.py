"""The command line of a program, from the signature and docstring of the function that it calls."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_origin

from cyclopts import (
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    Parameter,
    Token,
    UnknownOptionError,
)

OPTIONS = Parameter(
    negative=(), json_list=False, show_default=lambda value: str(value) if value else None
)
"""No --no-option, no lists in JSON, no defaults that say nothing."""
READS, WRITES = "reads standard input", "writes standard output"
"""In the annotation of a path: what `-` means there. Elsewhere it is refused."""
STREAM = Path("-")


def read_options(
    function: Callable[..., Any], words: Sequence[str]
) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """What `words` ask to call (`function`, or its help) and with what.

    Options that may be left out may also have no value: rules pass what may be nothing. Flags need
    none.
    """
    app = command_line(function)
    arguments = app.assemble_argument_collection()
    optional = {
        name for one in arguments if not one.required and one.hint is not bool for name in one.names
    }
    said = [word for word in words if word]
    valued = [
        word
        for word, after in zip(said, [*said[1:], "--"], strict=False)
        if not (word in optional and after.startswith("--"))
    ]
    return parse(app, valued)


def command_line(function: Callable[..., Any]) -> App:
    """The options that the signature of `function` declares: `min_length` is `--min-length`.

    `Args:` in its docstring is their help, the docstring of the program that of the whole. A list
    takes all words up to the next option, the fields of a dataclass are options of their own, a
    block of the config is given in JSON, and what has a function for its value cannot be given.
    """

    def option(given: inspect.Parameter) -> inspect.Parameter:
        hint, how = given.annotation, Parameter()
        if any(map(_is_block, (hint, *get_args(hint)))):
            how = Parameter(converter=_block, accepts_keys=False, n_tokens=1, metavar="JSON")
        elif dataclasses.is_dataclass(hint):
            how = Parameter(name="*")
        elif {list, Sequence} & _types(hint):
            how = Parameter(consume_multiple=(1, None))
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
    paragraphs = (sys.modules["__main__"].__doc__ or "").split("\n\n")
    app = App(
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        help_format="plaintext",
        version_flags=[],
        default_parameter=OPTIONS,
    )
    app["--help"].show = False
    app.default(command)
    return app


def parse(
    app: App, words: Sequence[str], advice: Mapping[str, str] = MappingProxyType({})
) -> tuple[Callable[..., Any], inspect.BoundArguments]:
    """What `words` ask to call, and with what; one line and exit code 2 where they are wrong.

    `advice` says by command what to do with an option that it does not know.
    """
    app.config = (_refuse_fractions, _refuse_no_path, _refuse_streams)
    # The same path as -, which cyclopts would take for an option.
    ours = [f"./{STREAM}" if word == str(STREAM) else word for word in words]
    try:
        call, asked, _ = app.parse_args(ours, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        unknown = words[0] if isinstance(error, UnknownOptionError) else ""
        more = advice.get(unknown, "see --help")
        print(f"error: {' '.join(str(error).split())} ({more})", file=sys.stderr)
        sys.exit(2)
    return call, asked


def _refuse_fractions(app: App, commands: Sequence[str], given: ArgumentCollection) -> None:
    """Of an integer option cyclopts would round 1.5."""
    for option in given:
        for token in option.tokens if int in (option.hint, *get_args(option.hint)) else ():
            with suppress(ValueError):  # no number at all: cyclopts says so
                if not float(token.value).is_integer():
                    raise CoercionError(argument=option, token=token, target_type=int)


def _refuse_no_path(app: App, commands: Sequence[str], given: ArgumentCollection) -> None:
    """Of an empty word, as of a shell's variable that is not set, Python makes the folder `.`."""
    for option, token in _paths(given):
        if not token.value:
            raise CoercionError(msg="an empty path", argument=option, token=token)


def _refuse_streams(app: App, commands: Sequence[str], given: ArgumentCollection) -> None:
    """`-` where no stream is read or written, or where another option reads it already."""
    read = False
    for option, token in _paths(given):
        means = getattr(option.field_info.annotation, "__metadata__", ())
        if Path(token.value) != STREAM or WRITES in means:
            continue
        fault = "standard input is read once" if read else "- means no stream here"
        if read or READS not in means:
            msg = f"{fault}; give the name of a file or folder"
            raise CoercionError(msg=msg, argument=option, token=token)
        read = True


def _paths(given: ArgumentCollection) -> Iterator[tuple[Argument, Token]]:
    """The words given for paths."""
    for option in given:
        if Path in (option.hint, *get_args(option.hint)):
            yield from ((option, token) for token in option.tokens)


def _block(kind: Any, tokens: Sequence[Token]) -> Any:
    """A block of the config, also one that may be left out, from JSON."""
    from pydantic import ValidationError

    (kind,) = filter(_is_block, (kind, *get_args(kind)))

    try:
        return kind.model_validate_json(tokens[0].value)
    except ValidationError as error:
        problems = [(*problem["loc"], problem["msg"]) for problem in error.errors()]
        raise ValueError("; ".join(": ".join(map(str, one)) for one in problems)) from error


def _is_block(hint: Any) -> bool:
    return hasattr(hint, "model_validate_json")


def _types(hint: Any) -> set[Any]:
    return {get_origin(part) for part in (hint, *get_args(hint))}
