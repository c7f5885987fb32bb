"""The search for settings of the networks' training, strictly inside the training part of each fold."""
