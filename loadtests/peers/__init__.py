"""the same weights and inputs → every engine people use, raced in one run beside Attendant."""
