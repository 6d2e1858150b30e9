"""Keep the config as it was validated, with what was changed on the command line.

python scripts/record_config.py --config '{"study": "demo", …}' --out results/demo/config.yaml
"""

from plm_scaling.common.program import run
from plm_scaling.config.load import record_config

if __name__ == "__main__":
    run(record_config)
