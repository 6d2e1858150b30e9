"""The raw points that the study's own fitting notebook reads, for its exact procedure.

Facts from plot_examples/scaling_law_fit_example.ipynb of the released repository (commit 12acfa0):
the notebook has a table of N by folder, and takes tokens from the row number.
"""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from plm_scaling.cheng2024.logs.axes import read_points
from plm_scaling.cheng2024.logs.names import read_name

# The notebook's N by folder (some with embeddings, some 12·L·d²; 7B is mistyped by 1000 or so).
# 280M, 609M and 736M have folders but no entry.
NOTEBOOK_N = {
    "3M": 3_538_944, "6M": 6_291_456, "10M": 9_830_400, "13M": 13_192_320, "20M": 19_267_584,
    "25M": 25_165_824, "34M": 33_690_624, "40M": 39_813_120, "47M": 47_775_744,
    "65M": 65_728_000, "85M": 84_934_656, "106M": 106_168_320, "127M": 127_699_968,
    "154M": 154_448_288, "170M": 170_233_344, "200M": 202_309_632, "230M": 231_211_008,
    "300M": 302_426_080, "393M": 393_216_000, "470M": 472_435_184, "550M": 550_502_400,
    "650M": 650_930_624, "680M": 680_205_312, "880M": 886_308_864, "1.2B": 1_208_881_136,
    "1.5B": 1_528_823_808, "1.7B": 1_784_851_968, "2B": 2_044_723_200, "2.4B": 2_359_296_000,
    "2.8B": 2_834_283_904, "3.4B": 3_425_697_792, "4B": 4_076_863_488, "5B": 4_917_322_640,
    "6B": 6_165_626_880, "7B": 7_247_758_312, "10B": 10_682_105_856,
}  # fmt: skip
TOKENS_PER_ROW = {"M": 512 * 1024 * 300, "B": 1024 * 1024 * 300}
NOTEBOOK_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("objective", "folder", "file")),
        *(("read", pa.bool_()), ("row", pa.int64())),
        *((name, pa.float64()) for name in ("gflops_raw", "loss", "nominal_n")),
        ("nominal_tokens", pa.int64()),
    ]
)


def notebook_table(contents: Iterable[tuple[str, bytes]]) -> pa.Table:
    """Every row of the files under `approach3_flops`, unchanged, in the order of visit.

    Folders come by rising size, files by name: the notebook takes whatever order the file system
    gives, and its CLM coefficients need 6M before 13M. `read` is false where the file's name does
    not begin with 'run', which the notebook demands. `row` counts data rows from 0; the notebook
    drops row 0. `nominal_n` is null where its table has no such folder. `nominal_tokens` is
    row·300·(512 or 1024 rows, by the folder's last letter)·1024.
    """
    files = []
    for path, content in contents:
        named = read_name(path)
        if named.group == "sweep":
            files.append((named.objective, _size_order(named.folder), path, named, content))
    tables = []
    for objective, _, path, named, content in sorted(files, key=lambda file: file[:3]):
        x, y = read_points(path, content)
        name = path.rsplit("/", 1)[1]
        row = pd.RangeIndex(len(x))
        tables.append(
            pd.DataFrame(
                {
                    "objective": objective,
                    "folder": path.rsplit("/", 2)[1],
                    "file": name,
                    "read": name.startswith("run"),
                    "row": row,
                    "gflops_raw": x,
                    "loss": y,
                    "nominal_n": float(NOTEBOOK_N.get(named.folder, float("nan"))),
                    "nominal_tokens": row * TOKENS_PER_ROW[named.folder[-1]],
                }
            )
        )
    return pa.Table.from_pandas(pd.concat(tables), schema=NOTEBOOK_SCHEMA, preserve_index=False)


def _size_order(folder: str) -> float:
    return float(folder[:-1]) * {"M": 1e6, "B": 1e9}[folder[-1]]
