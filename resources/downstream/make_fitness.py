"""Three published assays in ProteinGym's form, from the tables in which their authors' data were
published with other work (README.md says where): fitness_small has all single mutants,
fitness_demo a hundred of each.

python resources/downstream/make_fitness.py FOLDER resources/downstream

FOLDER holds DMS_substitutions.csv of ProteinGym, BLAT_ECOLX_Ranganathan2015.csv,
DLG4_RAT_Ranganathan2012.csv and PABP_YEAST_Fields2013-singles.csv. Mutants and scores are as there;
other columns are left out. The files are the same, byte for byte, where Python is linked to zlib.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

ASSAYS = {
    "BLAT_ECOLX_Stiffler_2015": ("BLAT_ECOLX_Ranganathan2015.csv", "2500"),
    "DLG4_RAT_McLaughlin_2012": ("DLG4_RAT_Ranganathan2012.csv", "CRIPT"),
    "PABP_YEAST_Melamed_2013": ("PABP_YEAST_Fields2013-singles.csv", "log"),
}
KEPT = ["DMS_id", "DMS_filename", "UniProt_ID", "coarse_selection_type", "MSA_filename"]
KEPT += ["target_seq"]
DEMO = 100  # mutants of each assay, evenly spaced


def text_of(rows: list[dict[str, str]], columns: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_zip(path: Path, assays: dict[str, list[dict[str, str]]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in assays.items():
            info = zipfile.ZipInfo(f"{name}.csv")  # of 1980, whenever it is made
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text_of(rows, ["mutant", "DMS_score"]))


def main(source: Path, out: Path) -> None:
    with (source / "DMS_substitutions.csv").open(newline="") as text:
        reference = [row for row in csv.DictReader(text) if row["DMS_id"] in ASSAYS]
    (out / "fitness_small.csv").write_text(text_of(reference, KEPT))
    assays = {}
    for name, (file, column) in ASSAYS.items():
        with (source / file).open(newline="", encoding="utf-8-sig") as text:
            assays[name] = [
                {"mutant": row["mutant"], "DMS_score": row[column]} for row in csv.DictReader(text)
            ]
    write_zip(out / "fitness_small.zip", assays)
    few = {name: rows[:: len(rows) // DEMO][:DEMO] for name, rows in assays.items()}
    write_zip(out / "fitness_demo.zip", few)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
