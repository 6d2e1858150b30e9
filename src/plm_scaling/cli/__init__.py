"""The `plm-scaling` command."""
