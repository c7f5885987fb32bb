"""The two-stage fit, evaluation, baselines."""
