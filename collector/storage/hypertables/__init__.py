"""TimescaleDB: hypertables, compression and continuous aggregates, where the server has it."""
