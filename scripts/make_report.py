"""Write the report of a study as one self-contained HTML page.

python scripts/make_report.py --study demo --config config/demo.yaml --runs results/demo/runs.csv \
    --laws results/demo/laws/clm.isoflop.json \
    --figures results/demo/figures --sources resources/sources.tsv \
    --counts data/demo/dedup/counts.tsv data/demo/filter/counts.tsv \
    --contamination data/demo/contamination.json --manifest data/demo/tokens/manifest.json \
    --tool data/demo/dedup/tool.json --reference resources/published/reference.json \
    --out results/demo/report.html
"""

import argparse
from pathlib import Path

from plm_scaling.common import program
from plm_scaling.report.page import make_report

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, help="the study's name, the page's title")
    parser.add_argument("--runs", type=Path, required=True, help="table of runs")
    parser.add_argument("--laws", type=Path, nargs="+", required=True, help="law files")
    parser.add_argument("--figures", type=Path, required=True, help="folder of {name}.svg and .csv")
    parser.add_argument("--config", type=Path, help="the config, for its checksum")
    parser.add_argument("--sources", type=Path, help="source table, for versions and licences")
    parser.add_argument("--counts", type=Path, nargs="*", default=[], help="counts.tsv by stage")
    parser.add_argument("--examples", type=Path, help="examples.tsv of the filter")
    parser.add_argument("--contamination", type=Path, help="report of the homology search (JSON)")
    parser.add_argument("--manifest", type=Path, help="manifest of the token shards")
    parser.add_argument("--tool", type=Path, help="versions of outside tools (JSON)")
    parser.add_argument("--reference", type=Path, help="a published study to compare with (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="the page (HTML)")
    program.run(make_report, parser)
