"""The study's released logs (Cheng et al., 2024) as tables of runs and curves.

The release is 294 CSVs whose names carry the facts, not all of them right; docs/files.md and the
modules here say what is corrected and how:

- `release`: which files there are, verified; their download.
- `names`: what a path says.  `sizes`: which model that is.
- `axes`: what the logged x-axis says: tokens, N and false starts.
- `gather`: which files are one run.  `table`: the run's row, and why it may be left out.
- `notebook`: the raw points that the study's own fitting procedure reads.
"""
