"""two versions of a model → shares of its traffic: a canary, a shadow, and the way back."""
