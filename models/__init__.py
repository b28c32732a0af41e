"""dataset → trained checkpoint: the torch side of Attendant."""
