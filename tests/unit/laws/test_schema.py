"""The files of the frontier, mask-ratio and joint laws follow the schema, found or not."""

import json

import jsonschema
import pytest
from planted_rates import planted, step_law_batch
from test_frontier import ends_only, sweep
from test_joint import CLM, MLM, law
from test_mask_ratio import RATIOS, losses

from plm_scaling.laws.frontier.fit import fit_frontier
from plm_scaling.laws.joint.fit import fit_joint
from plm_scaling.laws.mask_ratio.fit import fit_mask_ratio
from plm_scaling.laws.result import LawResult
from plm_scaling.laws.schema import law_schema
from plm_scaling.laws.tuning.fit import fit_tuning

CURVES = ends_only(sweep(0.002))
FITS = {
    "frontier": lambda: fit_frontier(**CURVES, bootstrap=200),
    "frontier without law": lambda: fit_frontier(
        **{k: v[:21] for k, v in CURVES.items()}, bootstrap=0
    ),
    "mask_ratio": lambda: fit_mask_ratio(**losses(0.002), bootstrap=200),
    "mask_ratio without best": lambda: fit_mask_ratio(**losses(ratios=RATIOS[4:]), bootstrap=0),
    "tuning": lambda: fit_tuning(**planted(0.001), bootstrap=200),
    "tuning with batches": lambda: fit_tuning(
        **planted(0.001, batches=(1e5, 5e5, 2e6), best_batch=step_law_batch), bootstrap=200
    ),
    "tuning without law": lambda: fit_tuning(**planted(sizes=(1e7,)), bootstrap=0),
    "joint": lambda: fit_joint(CLM, MLM),
    "joint without law": lambda: fit_joint(CLM, law(None, None)),
}


@pytest.mark.parametrize("name", FITS)
def test_law_file_follows_the_schema_and_reads_back(name):
    result = FITS[name]()
    result.objective = result.objective or "mlm"
    result.study, result.version = "made up", "0"
    result.data = {"runs": "runs.csv", "sha256": "0" * 64}
    text = json.dumps(result.to_json(), allow_nan=False)
    jsonschema.validate(json.loads(text), law_schema(result.law))
    assert json.dumps(LawResult.from_json(json.loads(text)).to_json()) == text


def test_schema_refuses_a_key_that_no_type_has_and_the_lack_of_one():
    law_file = FITS["joint"]().to_json()
    for broken in (law_file | {"made_up": 1}, {k: v for k, v in law_file.items() if k != "split"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(json.dumps(broken)), law_schema("joint"))
