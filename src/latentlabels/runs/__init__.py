"""A run's cleaned table, read again beside the table that was cleaned."""
