"""Numbers and names of laws as print has them."""

from pathlib import Path

import jinja2
import pytest

from plm_scaling.report.html import template
from plm_scaling.report.html.template import code, formulas

HTML = Path(template.__file__).parent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("N_opt grows as C^0.52", "N<sub>opt</sub> grows as C<sup>0.52</sup>"),
        ("D_t = k*D_f^a*N^b", "D<sub>t</sub> = k·D<sub>f</sub><sup>a</sup>·N<sup>b</sup>"),
        ("E + A/N^alpha, C^-0.025", "E + A/N<sup>α</sup>, C<sup>−0.025</sup>"),
        ("R*_D of U·(1 - exp(-R/R_D))", "R*<sub>D</sub> of U·(1 - exp(-R/R<sub>D</sub>))"),
        ("at 1e+21 FLOPs, 1.5e-08", "at 10<sup>21</sup> FLOPs, 1.5×10<sup>−8</sup>"),
        ("C=1.15e22", "C=1.15×10<sup>22</sup>"),
        ("-0.1 to -0.2 [-0.3]", "−0.1 to −0.2 [−0.3]"),
        ("runs of one `budget`", "runs of one <code>budget</code>"),
        ("a < b", "a &lt; b"),
        # names of runs, cells and sequences stay as they are
        ("mlm-2.8B-3.4e21-cbc36c and 1e21-4b0358", "mlm-2.8B-3.4e21-cbc36c and 1e21-4b0358"),
        (code("60df510e2c"), "<code>60df510e2c</code>"),
        (code("data/K_pneu/1e9"), "<code>data/K_pneu/1e9</code>"),
        (
            "`budgets_flops: [1e18]` to 1e18",
            "<code>budgets_flops: [1e18]</code> to 10<sup>18</sup>",
        ),
        ("uniref_demo BLAT_ECOLX stage_version", "uniref_demo BLAT_ECOLX stage_version"),
        ("E_coli and A_b: of alpha, beta_2", "E_coli and A_b: of alpha, beta_2"),
        (
            "E + A/N_eff^alpha, U_N, S_peak",
            "E + A/N<sub>eff</sub><sup>α</sup>, U<sub>N</sub>, S<sub>peak</sub>",
        ),
        ("alpha = 0.36; E, A, B, alpha and beta", "α = 0.36; E, A, B, α and β"),
        ("c, kappa; c and kappa are not, (alpha, beta)", "c, κ; c and κ are not, (α, β)"),
        ("the interval of beta (0 to 1)", "the interval of β (0 to 1)"),
        ("beta ended at its bound", "β ended at its bound"),
        ("alpha", "α"),
    ],
)
def test_formulas_and_numbers_are_set_as_in_print(text, shown):
    assert formulas(text) == shown


def test_names_in_a_table_stay_as_they_are():
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HTML), autoescape=True)
    environment.filters["formulas"] = formulas
    table = environment.get_template("macros.html.j2").module.table
    shown = table([{"corpus": "alpha", "law": "alpha", "a": "1e18"}], ("corpus",))
    assert "<td>alpha</td>" in shown
    assert '<td class="n">α</td><td class="n">10<sup>18</sup></td>' in shown
