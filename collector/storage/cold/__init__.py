"""Months that leave the database for files, rows that are thinned, and how large tables were."""
