"""``camfit bench``: long measurements. Their pages, docs/results, name the command, versions and seeds behind them."""
