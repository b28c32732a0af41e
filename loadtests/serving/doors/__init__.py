"""Attendant's doors and those of other servers, all around a model that does nothing."""
