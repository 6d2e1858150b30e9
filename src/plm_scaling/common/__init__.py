"""What every stage uses: files, rows, parts, counts, locks, progress, errors, programs."""
