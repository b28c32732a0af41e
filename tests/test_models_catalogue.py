"""Architectures and recipes are found by their files; an incomplete file says all that it lacks."""

import sys
from types import ModuleType

import pytest
from torch import nn

from models.catalogue import (
    REQUIRED,
    architecture,
    architecture_names,
    dataset_loader,
    recipes,
)

every = pytest.mark.parametrize("name", architecture_names())


@every
def test_an_architecture_has_all_that_the_catalogue_asks(name: str) -> None:
    of = architecture(name)
    assert of.name == name
    model = of.build(of.presets["testing"])
    assert isinstance(model, nn.Module)
    assert of.tolerance > 0
    graphs = {graph.name for graph in of.graphs(model.eval())}
    assert set(of.attentions(of.presets["testing"])) == graphs


@every
def test_a_recipe_names_a_preset_and_a_dataset_that_exist(name: str) -> None:
    of = architecture(name)
    for recipe in of.recipes.values():
        assert recipe.preset in of.presets
        assert callable(dataset_loader(recipe.dataset))
        assert recipe.steps > 0


def test_a_file_that_lacks_names_fails_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "models.architectures.unfinished"
    unfinished = ModuleType(name)
    unfinished.Config = unfinished.PRESETS = {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, unfinished)
    with pytest.raises(AttributeError) as caught:
        architecture("unfinished")
    assert "models/architectures/unfinished.py" in str(caught.value)
    lacking = [required for required in REQUIRED if required not in ("Config", "PRESETS")]
    assert ", ".join(lacking) in str(caught.value)


def test_recipes_are_found_with_their_architectures() -> None:
    found = recipes()
    declared = [recipe for name in architecture_names() for recipe in architecture(name).recipes]
    assert sorted(found) == sorted(declared), "two architectures name a recipe alike"
    of, recipe = found["translation"]
    assert of.name == "transformer"
    assert recipe.dataset == "tatoeba"
