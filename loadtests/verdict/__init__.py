"""results, budgets, an older result or another deployment → better, worse, or no difference."""
