"""Statistics that laws share: power laws, intervals, noise, budgets."""
