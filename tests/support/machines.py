"""Machines of the config for tests."""

from plm_scaling.config.machine import Machine


def machine(**changes: object) -> Machine:
    """A machine of eight H100s a node; `changes` replace any of its keys."""
    values = {
        "backend": "cuda",
        "gpu": "H100",
        "gpus_per_node": 8,
        "max_gpus": 64,
        "target_hours": 72.0,
        "utilisation": [{"from_parameters": 0, "value": 0.4}],
        "cpu_processes": 1,
        "cpu_gflops": 10.0,
        "threads": 4,
        "launcher": "srun --ntasks {processes}",
        "order": "first-law",
        "layouts": {},
    }
    return Machine.model_validate(values | changes)
