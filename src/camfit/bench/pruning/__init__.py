"""Every pruning method on the base networks at equal cost: the figures behind docs/results/pruning.md."""
