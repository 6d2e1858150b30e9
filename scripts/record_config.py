"""Keep the config as it was validated, with what was changed on the command line.

python scripts/record_config.py --config '{"study": "demo", …}' --out results/demo/config.yaml
"""

import argparse
from pathlib import Path

from plm_scaling.common.program import run
from plm_scaling.config.load import record_config

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the config as JSON")
    parser.add_argument("--out", type=Path, required=True, help="the config as YAML")
    run(record_config, parser)
