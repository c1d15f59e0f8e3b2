"""The acceptance table: what is measured, its figures, charts and report."""
