"""Attendant and other servers under the same load → requests they sustain, refusals, work saved."""
