"""generated nonsense on every door → nothing but answers and refusals, and a service that lives."""
