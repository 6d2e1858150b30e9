"""The `plm-scaling` command."""

# First of all, so that Ctrl-C during the imports of a command is quiet.
from plm_scaling.common import program as program
