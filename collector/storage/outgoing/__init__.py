"""Rows on their way out of the database and back: datasets, COPY streams, imports, what a sink has not got yet."""
