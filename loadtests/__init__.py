"""every task × every door → measured under load, and held against stated bounds."""
