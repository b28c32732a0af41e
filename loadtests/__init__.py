"""every task × every door → measured under load, held against stated budgets."""
