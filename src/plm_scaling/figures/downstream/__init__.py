"""Figures of scores on benchmarks: by loss, by compute, by kind of assay, contacts, exposure."""
