"""Statistics, tables, figures, provenance and the report."""
