"""Whole databases: dumps with their hashes, a restored one in the place of another, the way back to an older schema."""
