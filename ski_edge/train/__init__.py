"""Training: recipes, loops, schedules."""

from ski_edge.train.recipe import Recipe, read_recipe

__all__ = ["Recipe", "read_recipe"]
