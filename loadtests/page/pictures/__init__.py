"""a result → its pictures; each file draws one, or nothing where there is no data for it."""
