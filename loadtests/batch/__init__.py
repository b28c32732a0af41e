"""offline batch → how fast it is beside its engine, and what a kill takes from it."""
