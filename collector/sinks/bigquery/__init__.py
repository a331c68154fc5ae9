"""Rows to BigQuery: load jobs into staging tables, then MERGE on the natural key; see docs/bigquery.md."""
