"""The live terminal view: what the collector does now, from its database and its log folder, without disturbing it."""
