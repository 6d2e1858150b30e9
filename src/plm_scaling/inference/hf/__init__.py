"""Configuration and model for `transformers`; an export carries copies of these two files.

They import nothing of this package, since they are read where it is not installed.
"""
