"""From shards to what a training sees: clean, targets, splits, leakage check, views."""
