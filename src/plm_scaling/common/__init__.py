"""What every stage uses: files, tables of rows, parts, counts, locks, progress, errors, programs."""
