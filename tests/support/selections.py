"""What the filter hands to the tokenizer, written directly, for tests."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool

TEXT = pa.dictionary(pa.int8(), pa.string())
SCHEMA = pa.schema([("key", pa.uint32()), ("source", TEXT), ("split", TEXT), ("stratum", TEXT)])


def select(pool: Pool, folder: Path, place: Callable[[str], tuple[str, str] | None]) -> None:
    """Select the records for whose id `place` gives (split, stratum)."""
    folder.mkdir(parents=True, exist_ok=True)
    totals: Counter[tuple[str, str, str]] = Counter()
    for part in pool.parts:
        rows = []
        for table in part.records(["key", "id", "source"]):
            for row in table.to_pylist():
                if found := place(row["id"]):
                    key = row["key"] + part.first_key
                    rows.append((key, row["source"], *found))
                    totals[found[0], row["source"], found[1]] += 1
        columns = list(zip(*rows, strict=True)) or [()] * 4
        arrays = [
            pa.array(column, field.type) if field.type != TEXT
            else pa.array(column, pa.string()).dictionary_encode().cast(TEXT)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]  # fmt: skip
        pq.write_table(
            pa.table(arrays, schema=SCHEMA), folder / f"{part_name(part.number)}.parquet"
        )
    listed = [
        {"split": split, "source": source, "stratum": stratum, "records": n}
        for (split, source, stratum), n in totals.items()
    ]
    (folder / "totals.json").write_text(json.dumps(listed))
