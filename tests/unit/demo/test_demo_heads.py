"""The recipes of the demo's heads."""

from pathlib import Path

from manylabel.config import to_tables
from manylabel.demo.heads import CONTENDERS, SRN, srn_recipe


def test_all_heads_have_srns_recipe_but_for_head_and_step():
    srn = srn_recipe(3, Path("scenes"))
    assert srn.seed == 3
    assert srn.head.name == "srn-modern"
    assert [each.recipe(srn).head.name for each in CONTENDERS] == [
        "linear",
        "linear",
        "srn-att",
        "srn-modern",
    ]
    assert CONTENDERS[-1] is SRN
    expected = to_tables(srn)
    for each in CONTENDERS:
        tables = to_tables(each.recipe(srn))
        assert {"head", "steps"} >= {key for key in tables if tables[key] != expected[key]}
        (step,) = tables["steps"]
        assert (step["epochs"], step["freeze"]) == (12, ["backbone"])
