"""Defaults that follow from other keys (marked `Follows`), filled in before the schema looks."""

from collections.abc import Mapping
from typing import Any

from plm_scaling.config.data import SHIPPED_TABLE
from plm_scaling.config.sweep import Sweep


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the keys that follow from others, and the files that corpora name among
    `data.sources`; what the schema will refuse is left as it is.

    Raises `ValueError` where no corpus is named, and for files that cannot become a source.
    """
    names = ("data", "filter", "sweep", "training")
    data, search, sweep, training = (_block(values, name) for name in names)
    on_cpus = _block(values, "machine").get("backend") == "cpu"  # which have no fast bf16
    training.setdefault("precision", "fp32" if on_cpus else "bf16")
    named = _block(values, "corpora")
    corpora = {name: _with_source(name, corpus, data) for name, corpus in named.items()}
    if "corpora" not in values:
        raise ValueError(
            "key 'corpora' is missing; name your proteins: corpora: {mine: {path: my.faa.gz}}"
        )
    if "study" in values:
        data.setdefault("name", values["study"])
    if corpora:
        sweep.setdefault("corpora", [*corpora])
        _complete_cells(sweep)
        first = next(iter(corpora.values()))
        mixture = first.get("mixture") if isinstance(first, Mapping) else None
        if isinstance(mixture, Mapping) and mixture:
            search.setdefault("reference_source", next(iter(mixture)))
    blocks = dict(zip(names, (data, search, sweep, training), strict=True)) | {"corpora": corpora}
    wrong = {name for name in blocks if not isinstance(values.get(name, {}), Mapping)}
    return {**values} | {
        name: blocks[name] for name in blocks if blocks[name] and name not in wrong
    }


def _block(values: Mapping[str, Any], name: str) -> dict[Any, Any]:
    """A block that may be changed; empty where there is none, or no mapping."""
    block = values.get(name)
    return {**block} if isinstance(block, Mapping) else {}


def _complete_cells(sweep: dict[Any, Any]) -> None:
    """What the sweep's rows of single, transferred and designed cells have in common with it."""
    followed = {"corpus": "corpora", "recipe": "recipes"}
    known = {key: Sweep.model_fields[key].default for key in ("recipes", "seeds")} | sweep
    firsts = {
        key: known[of][0]
        for key, of in followed.items()
        if isinstance(known[of], list) and known[of]
    }
    for name, common in {
        "extra": firsts,
        "transfer": firsts,
        "designed": {"seeds": known["seeds"]},
    }.items():
        rows = sweep.get(name)
        if isinstance(rows, list):
            sweep[name] = [{**common, **row} if isinstance(row, Mapping) else row for row in rows]


def _with_source(name: str, corpus: Any, data: dict[Any, Any]) -> Any:
    """The corpus without `path`, which becomes a source of the corpus's name in `data.sources`."""
    if not isinstance(corpus, Mapping) or corpus.get("path") is None:
        return corpus
    where = f"corpora.{name}.path"
    path, rest = corpus["path"], {key: corpus[key] for key in corpus if key != "path"}
    sources = data.get("sources", {})
    if sources == SHIPPED_TABLE:
        sources = {}
    if not isinstance(sources, Mapping):
        raise ValueError(
            f"{where}: data.sources names a table; make the file a row of it, or leave out "
            "data.sources"
        )
    if name in sources:
        raise ValueError(f"{where}: data.sources has {name!r} too; give its files in one place")
    mixture = rest.setdefault("mixture", {name: 1.0})
    if isinstance(mixture, Mapping) and name not in mixture:
        raise ValueError(f"{where}: mixture gives these files no share; add {name}: 0.5, say")
    data["sources"] = {**sources, name: {"path": path}}
    return rest
