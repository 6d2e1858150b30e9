"""What the schema says of each key, as docs/config.md and as the comments of config.yaml.

python -m plm_scaling.config.document config.yaml docs/config.md
"""

import ast
import inspect
import sys
import textwrap
import types
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from plm_scaling.config.load import block_in
from plm_scaling.config.numbers import Block, Follows
from plm_scaling.config.schema import Config

_NAMES = {
    "str": "text", "int": "integer", "float": "number", "bool": "true or false", "date": "date",
}  # fmt: skip
INTRODUCTION = """# Config

One file says what is computed: `config.yaml` is the full study, `config/demo.yaml` the demo. It is
validated before anything runs, and unknown keys are refused. **A file of your own needs three
lines:**

```yaml
study: mine
corpora:
  mine: {path: my.faa.gz}
```

What it leaves out has its default: where it is a matter of taste that of the full study, where it
is a matter of size what suits a laboratory's proteins and one node of GPUs.
`results/{study}/config.yaml` keeps the whole, with every default.

- `snakemake --configfile my.yaml` runs `my.yaml`, and nothing of `config.yaml`, because it says
  `study`.
- `--configfile config.yaml more.yaml` runs the first with the changes of the second, key by key;
  but `corpora` and `sweep` are replaced whole, so that nothing of another study's data or budgets
  stays. Without `config.yaml` it is the same if no file says `study`.
- `--config 'published={logs: PATH}'` changes single keys of all that, for one run.

One line says at the start what was replaced and how many keys have their defaults.
Columns: the default (*required*, or in italics what it follows from), and the value in
`config.yaml`. This page, and the comments above the keys of `config.yaml`, are generated from the
schema by `make docs`.
"""
COMMENT_WIDTH = 100
HEAD = ["| key | type | default | full study | meaning |", "|---|---|---|---|---|"]
NOT_SHOWN = object()  # of a key that the full study's file does not have


def document_config(config: Path) -> str:
    """The page, in the order of the blocks in the file `config`, with its values."""
    values = yaml.safe_load(config.read_text())
    lines = [INTRODUCTION, *HEAD]
    simple = [name for name in values if not isinstance(values[name], dict)]
    lines += [_row(name, Config, name, values[name]) for name in simple]
    for name, block_values in values.items():
        field = Config.model_fields[name]
        if name not in simple:
            block, mark = field.annotation, ""
            if get_origin(block) is dict:  # blocks by name: the first stands for all
                block, mark = block_in(block), "{name}."
                block_values = next(iter(block_values.values()))
            lines += ["", f"## {name}", "", _plain(meaning(Config, name) or block.__doc__), ""]
            lines += HEAD
            lines += _rows(block, block_values, mark)
    return "\n".join(lines) + "\n"


def _rows(block: Any, values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, field in block.model_fields.items():
        yield _row(prefix + name, block, name, values.get(name, NOT_SHOWN))
        for mark, inner in _blocks(field.annotation):
            for inner_name in inner.model_fields:
                yield _row(prefix + name + mark + inner_name, inner, inner_name, NOT_SHOWN)


def _blocks(annotation: Any, mark: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The blocks that a field of this type has or may consist of, and what stands between its key
    and theirs."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield f"{mark}.", annotation
    mark += {list: "[]", dict: ".{name}"}.get(get_origin(annotation), "")
    for part in get_args(annotation):
        yield from _blocks(part, mark)


def _row(key: str, block: Any, name: str, value: Any) -> str:
    shown = "" if value is NOT_SHOWN else f"`{_short(value)}`"
    field = block.model_fields[name]
    cells = (f"`{key}`", _type(field), _default(field), shown, _plain(meaning(block, name)))
    return f"| {' | '.join(cells)} |"


def _default(field: FieldInfo) -> str:
    """The default of a key, or what it follows from."""
    if follows := [part for part in field.metadata if isinstance(part, Follows)]:
        return f"*{follows[0]}*"
    if field.is_required():
        return "*required*"
    value = to_jsonable_python(field.default)
    return "" if isinstance(field.default, BaseModel) else f"`{_short(value)}`"


def meaning(block: type[BaseModel], name: str) -> str | None:
    """What the schema says of a key of a block: the description that it is given, or the text
    below it."""
    return block.model_fields[name].description or _texts(block).get(name)


@cache
def _texts(block: type[BaseModel]) -> dict[str, str]:
    """The text below each key of a block, and of those that it is derived from.

    Pydantic can read them too, but would with every start of Snakemake and of each job.
    """
    texts = {}
    for one in reversed(block.__mro__):
        if issubclass(one, Block):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
            assert isinstance(tree, ast.ClassDef)
            for key, below in pairwise(tree.body):
                match key, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        texts[name] = inspect.cleandoc(text)
    return texts


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    text = text.removesuffix("...").strip()
    return text if len(text) <= 60 else text[:57] + "…"


def _plain(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{symbol} {value:g}" if isinstance(value, int | float) else f"{symbol} {value}"
        for part in field.metadata
        for name, symbol in (
            ("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"),
            ("min_length", "at least"), ("max_length", "at most"),
        )
        if (value := getattr(part, name, None)) is not None
    ]  # fmt: skip
    return ", ".join([_type_name(field.annotation), *bounds])


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"mapping of name to {_type_name(arguments[1])}"
    if origin in (Union, types.UnionType):
        names = [_type_name(part) for part in arguments if part is not types.NoneType]
        return " or ".join(dict.fromkeys(names))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return _NAMES[annotation.__name__]


def comment_config(text: str) -> str:
    """The YAML `text` of a config with what the schema says of each key as the comment above it.

    What stood directly above a key is replaced. Comments elsewhere stay: at the head of the file,
    at the end of a line, above the items of a list.
    """
    lines = text.splitlines()
    for line, indent, meaning in reversed(list(_keys(yaml.compose(text), Config))):
        first = line
        while first and lines[first - 1].lstrip().startswith("#"):
            first -= 1
        mark = " " * indent + "# "
        lines[first:line] = textwrap.wrap(
            " ".join(meaning.split()),
            COMMENT_WIDTH,
            initial_indent=mark,
            subsequent_indent=mark,
            break_on_hyphens=False,
        )
    return "\n".join(lines) + "\n"


def _keys(node: Any, block: Any) -> Iterator[tuple[int, int, str]]:
    """Line and column (from 0) of each key in block style, and its meaning."""
    for key, value in node.value:
        field = block.model_fields[key.value]
        inner = block_in(field.annotation)
        said = meaning(block, key.value) or str(inner.__doc__)
        yield key.start_mark.line, key.start_mark.column, said
        if get_origin(field.annotation) is dict and value.value:  # the first stands for all
            value = value.value[0][1]
        if inner and isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _keys(value, inner)


if __name__ == "__main__":
    config, page = map(Path, sys.argv[1:])
    config.write_text(comment_config(config.read_text()))
    page.write_text(document_config(config))
