"""Recipes: TOML to one frozen dataclass a step, and back."""
