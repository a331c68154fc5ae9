"""Datasets as files: CSV, JSON lines and Parquet, out and in again, with a manifest that says what they hold."""
