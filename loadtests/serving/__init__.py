"""Proofs of what the service holds under load, faults and nonsense, each one command."""
