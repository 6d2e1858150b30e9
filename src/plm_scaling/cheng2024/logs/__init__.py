"""The study's released logs (Cheng et al., 2024) as tables of runs and curves.

The release is 294 CSVs whose names carry the facts, not all of them right; docs/files.md and the
modules here say what is corrected and how:

- `release`: the list of files, their download and verification.
- `names`: the facts in a path.  `sizes`: the model of a size in a name.
- `axes`: tokens, N and false starts from the logged x-axis.
- `gather`: which files are one run.  `table`: the run's row, and why it may be left out.
- `notebook`: the raw points that the study's own fitting procedure reads.
"""
