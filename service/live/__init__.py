"""speech as it is spoken → text while it is, and for good at every pause."""
