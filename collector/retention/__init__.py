"""Retention: what leaves the database by age, what is thinned, what stops for space, how long the disk lasts."""
