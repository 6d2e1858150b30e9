"""Places a stage of a sweep by what its earlier cells have shown: sizes, seeds, rates, batches."""
