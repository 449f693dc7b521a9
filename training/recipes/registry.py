"""All recipes by name. Importing it loads no TensorFlow."""

from __future__ import annotations

from core.errors import ConfigurationError
from training.recipe import Recipe
from training.recipes import cnn, fusion, linear, mobilenetv2, resnet50

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for family in (cnn, fusion, linear, mobilenetv2, resnet50) for recipe in family.RECIPES
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        ConfigurationError: There is none of that name.
    """
    if name not in RECIPES:
        raise ConfigurationError(f"There is no recipe {name!r}; the recipes are {', '.join(sorted(RECIPES))}.")
    return RECIPES[name]
