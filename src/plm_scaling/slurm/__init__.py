"""The study on a Slurm cluster: how jobs are submitted, watched and counted."""
