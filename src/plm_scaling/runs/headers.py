"""Which column of anybody's table is which of ours: by its header, or as `--map` says."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plm_scaling.common.errors import RunsError
from plm_scaling.common.progress import many
from plm_scaling.runs.tables import RUN_COLUMNS, SETTING_COLUMNS

COLUMNS = (*RUN_COLUMNS, *SETTING_COLUMNS, "group", "budget")
TO_NATS = "0.6931472"  # ln 2: from bits
ALSO = {  # headers in small letters and digits alone; also our own names written so
    "n_params": "n params parameters nparameters numparams numparameters modelsize modelparams "
    "modelparameters paramcount parametercount nonembeddingparams nonembeddingparameters",
    "tokens": "d ntokens numtokens trainingtokens traintokens tokensseen totaltokens datasetsize",
    "flops": "c flop compute trainingflops trainflops trainingcompute totalflops totalcompute",
    "loss": "l valloss validloss validationloss evalloss testloss heldoutloss finalloss",
    "peak_learning_rate": "lr learningrate peaklr maxlr",
    "group": "run",
    "budget": "flopsbudget computebudget",
}
PERPLEXITY = re.compile("ppl|perplexity")
BITS = re.compile("bits|bp[bct]")
UNIT = re.compile("(.+?)(?:in)?(?:(m|mn|millions?)|(?:b|bn|g|billions?)|(t|tn|trillions?))")


@dataclass(frozen=True)
class Taken:
    """A column of the table: its header; its numbers times `factor`, or their logarithms."""

    header: str
    factor: float = 1.0
    log: bool = False


def match_headers(source: str, headers: Sequence[str], maps: Iterable[str]) -> dict[str, Taken]:
    """Our names of the columns that a table has, `maps` first: see `_mapped`.

    Raises RunsError if a needed one (n_params, loss, tokens or flops) is not among them, or may be
    several.
    """
    taken = dict(_mapped(source, headers, text) for text in maps)
    used = {one.header for one in taken.values()}
    for name in COLUMNS:
        if name in taken:
            continue
        same = [h for h in headers if h == name] or [h for h in headers if _bare(h) == _bare(name)]
        also = [h for h in headers if _bare(h) in ALSO.get(name, "").split()]
        found = same or also
        if name == "loss" and same:  # it may be that of training
            found = same + [header for header in also if header.upper() != "L"]
        found = [header for header in found if header not in used]
        if len(found) > 1:
            raise RunsError(
                f"{source}: {_listed(found)} may each be {name}: say which, such as "
                f'--map "{found[0]}={name}"'
            )
        if found:
            taken[name] = Taken(found[0])
    missing = [name for name in ("n_params", "loss") if name not in taken]
    if not {"tokens", "flops"} & set(taken):
        missing.append("tokens")
    if missing:
        fixes = " ".join(_map_for(name, headers, used) for name in missing)
        words = ", ".join(missing).replace("tokens", "tokens (or flops)")
        raise RunsError(
            f"{source}: {many(len(missing), 'column')} missing: {words}; the table has "
            f"{_listed(headers)}: say which one it is, with {fixes}"
        )
    return taken


def _mapped(source: str, headers: Sequence[str], text: str) -> tuple[str, Taken]:
    """What a map says: "HEADER=name", "HEADER*1e6=name" or "log(HEADER)=name"."""
    left, _, name = text.rpartition("=")
    if name not in COLUMNS:
        raise RunsError(
            f'--map "{text}": no column is named {name}; write "HEADER=n_params", '
            f'"HEADER*1e6=n_params" or "log(HEADER)=loss", with one of {", ".join(COLUMNS)}'
        )
    product, logarithm = (
        re.fullmatch(r"(.+)\*([\d.eE+-]+)", left),
        re.fullmatch(r"log\((.+)\)", left),
    )
    ways = [(left, "1", False)]
    ways += [(product[1], product[2], False)] if product else []
    ways += [(logarithm[1], "1", True)] if logarithm else []
    for words, factor, log in ways:
        for header in headers:
            if words.strip() in (header, header.strip()) or _bare(words) == _bare(header):
                try:
                    return name, Taken(header, float(factor), log)
                except ValueError:
                    raise RunsError(f'--map "{text}": {factor} is not a number') from None
    raise RunsError(f'--map "{text}": {source} has no such column; it has {_listed(headers)}')


def _map_for(name: str, headers: Sequence[str], used: set[str]) -> str:
    """The `--map` that a missing column seems to need."""
    for header in headers:
        bare = _bare(header)
        unit = UNIT.fullmatch(bare)
        if header in used:
            continue
        if name == "loss" and PERPLEXITY.search(bare):
            return f'--map "log({header})=loss"'
        if name == "loss" and BITS.search(bare):
            return f'--map "{header}*{TO_NATS}=loss"'
        if unit and name != "loss" and unit[1] in [_bare(name), *ALSO[name].split()]:
            return f'--map "{header}*{"1e6" if unit[2] else "1e12" if unit[3] else "1e9"}={name}"'
    return f'--map "HEADER={name}"'


def _bare(header: str) -> str:
    return re.sub("[^0-9a-z]", "", header.lower())


def _listed(headers: Iterable[str]) -> str:
    return ", ".join(f"'{header.strip()}'" for header in headers)
