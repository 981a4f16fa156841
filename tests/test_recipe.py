"""Recipes: text and back, joining, and errors that name source, step, field and what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from camfit import Recipe, Rewrite, Train
from camfit.errors import RecipeError
from camfit.methods.pruning.l1_filters import L1Filters
from camfit.recipe import JoinedTerm

DEEP = Recipe(
    "deep",
    (
        Rewrite("l1-filters", {"ratio": 0.25, "skip": ["conv1"], "ratios": {"conv2": 0.5}}),
        Train(3, 0.02, schedule="one-cycle", augment="flip-shift"),
        Rewrite("QZ2", {"bits": 4}),
        Train(0),
    ),
    (JoinedTerm("soft-targets", {"temperature": 2.5}),),
)


def test_a_recipe_is_read_back_from_its_own_text(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(DEEP.to_toml(), encoding="utf-8")
    assert Recipe.read(path) == DEEP
    assert Recipe.parse(Recipe("nothing").to_toml()) == Recipe("nothing")


def test_the_readmes_recipes_are_recipes() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [len(Recipe.parse(block).steps) for block in blocks] == [4, 1]


def test_options_reach_the_method_by_name_or_row() -> None:
    step = DEEP.steps[0]
    assert isinstance(step, Rewrite)
    assert step.planner() == L1Filters(ratio=0.25, skip=("conv1",), ratios={"conv2": 0.5})
    assert Rewrite("PR6", {"ratio": 1e-1}).planner() == L1Filters(ratio=0.1)


def test_joining_keeps_order_and_leaves_the_parts_alone() -> None:
    short = Recipe("short", (Train(1),))
    joined = (DEEP + short).joined_by("KD3", {"alpha": 0.5})
    assert joined.steps == (*DEEP.steps, Train(1))
    assert [term.method for term in joined.terms] == ["soft-targets", "KD3"]
    assert joined.name == "deep + short"
    assert len(DEEP.steps) == 4
    assert short.terms == ()


REPEATED = """
name = "slowly"

[[steps]]
step = "train"
epochs = 1

[[steps]]
step = "repeat"
times = 2

[[steps.steps]]
step = "rewrite"
method = "taylor"
options = { channels = 1 }

[[steps.steps]]
step = "train"
epochs = 1
updates = 10
"""


def test_a_repeated_step_runs_its_steps_in_every_round() -> None:
    recipe = Recipe.parse(REPEATED)
    assert Recipe.parse(recipe.to_toml()) == recipe
    assert [placed.place for placed in recipe.in_order()] == [
        "1", "2.1 (round 1)", "2.2 (round 1)", "2.1 (round 2)", "2.2 (round 2)"
    ]  # fmt: skip
    assert [placed.turn for placed in recipe.in_order()] == [1, 1, 1, 2, 2]
    assert recipe.in_order()[4].step == Train(1, updates=10)
    assert str(recipe.steps[1]).startswith("2 times: taylor(channels=1), then train 1 epochs of 10 updates")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("times = 2", "times = 0"), "step 2: times is 0 with 2 steps, expected 1 or more of both"),
        (("times = 2", "rounds = 2"), "step 2: object contains unknown field `rounds`; expected one of step, times"),
        (("channels = 1", "channels = 0"), "step 2.1: taylor: channels is 0, expected 1 or more"),
        (("updates = 10", "update = 10"), "step 2.2: object contains unknown field `update`; expected one of step, ep"),
        (("updates = 10", "updates = 'x'"), "step 2.2, field updates: expected `int`, got `str`"),
        (('"taylor"', '"tailor"'), "step 2.1: no method 'tailor'"),
    ],
)
def test_what_is_wrong_inside_a_repeated_step_is_said(change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.parse(REPEATED.replace(*change))
    assert message in str(refused.value)


def test_options_are_not_shared_between_steps() -> None:
    first, second = Rewrite("magnitude"), Rewrite("magnitude")
    assert first.options == second.options == {}
    assert first.options is not second.options


STEP = 'name = "a"\n[[steps]]\nstep = '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not valid TOML: Invalid value (at end of document)"),
        ("steps = []", "the top level: object missing required field `name`"),
        (
            'name = "a"\nstep = 1',
            "the top level: object contains unknown field `step`; expected one of name, steps, terms",
        ),
        ("name = 1", "field name: expected `str`, got `int`"),
        ('name = "a"\nsteps = 1', "field steps: expected `array`, got `int`"),
        ('name = "a"\nsteps = [1]', "step 1: expected `object`, got `int`"),
        (f'{STEP}"prune"', "step 1, field step: invalid value 'prune'; expected one of rewrite, train"),
        (
            'name = "a"\n[[steps]]\nepochs = 1',
            "step 1: object missing required field `step`; expected one of rewrite, train",
        ),
        (f'{STEP}"rewrite"', "step 1: object missing required field `method`"),
        (
            f'{STEP}"rewrite"\nmethd = "PR6"',
            "step 1: object contains unknown field `methd`; expected one of step, method",
        ),
        (
            f'{STEP}"train"\nepochs = 1\nlr = 1',
            "unknown field `lr`; expected one of step, epochs, learning_rate, batch_size",
        ),
        (f'{STEP}"train"\nepochs = "1"', "step 1, field epochs: expected `int`, got `str`"),
        (f'{STEP}"train"\nepochs = -1', "step 1: epochs is -1, expected 0 or more"),
        (f'{STEP}"train"\nepochs = 1\nlearning_rate = nan', "step 1: learning_rate is nan, expected above 0"),
        (f'{STEP}"train"\nepochs = 1\nschedule = "x"', "'x'; expected one of constant, cosine, one-cycle"),
        (f'{STEP}"train"\nepochs = 1\n[[steps]]\nstep = "train"', "step 2: object missing required field `epochs`"),
        (f'{STEP}"rewrite"\nmethod = "PR66"', "step 1: no method 'PR66'; expected one of"),
        (f'{STEP}"rewrite"\nmethod = "KD3"', "step 1: method 'KD3' is a loss term; put it under [[terms]]"),
        (f'{STEP}"rewrite"\nmethod = "PR6"\noptions = 3', "step 1, field options: expected `object`, got `int`"),
        (
            f'{STEP}"rewrite"\nmethod = "PR6"\noptions = {{ ratoi = 1 }}',
            "step 1: l1-filters: unknown option 'ratoi'; expected one of ratio, ratios, macs",
        ),
        (f'{STEP}"rewrite"\nmethod = "PR6"\noptions = {{ ratio = "x" }}', "option ratio: Expected `float`, got `str`"),
        (f'{STEP}"rewrite"\nmethod = "PR6"\noptions = {{ ratio = 2 }}', "l1-filters: ratio is 2.0, expected in [0, 1)"),
        (
            f'{STEP}"rewrite"\nmethod = "PR6"\noptions = {{ selection = "x" }}',
            "option selection: Invalid enum value 'x'; expected one of independent, greedy",
        ),
        ('name = "a"\nterms = [{ method = "PR6" }]', "terms: method 'PR6' rewrites the network; put it into a step"),
        (
            'name = "a"\nterms = [{ methd = "KD3" }]',
            "term 1: object contains unknown field `methd`; expected one of method",
        ),
        (
            'name = "a"\nterms = [{ method = "KD3", options = { alpha = 2 } }]',
            "soft-targets: alpha is 2.0, expected in [0, 1]",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        Recipe.parse(text, "deep.toml")
    assert str(refused.value).startswith("deep.toml: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read as a recipe: .*No such file"):
        Recipe.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.toml: cannot be read as a recipe"):
        Recipe.read(tmp_path / "binary.toml")


def test_a_recipe_built_in_python_is_checked_before_it_runs() -> None:
    with pytest.raises(RecipeError, match="recipe 'x', step 2: weight-sharing: bits is 40, expected 1 to 16"):
        Recipe("x", (Train(1), Rewrite("weight-sharing", {"bits": 40}))).check()
    assert DEEP.check() is DEEP
