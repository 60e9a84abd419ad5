"""HTML reports of backtests, evaluations and trainings."""
