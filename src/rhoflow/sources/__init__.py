"""Where raw materials come from."""
