"""Architectures, one file each: Config, PRESETS, build, loss, graphs, TOLERANCE, RECIPES."""
