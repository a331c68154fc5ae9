"""Where stored rows go: files, buckets, warehouses. A sink reads the database by watermark, never the live batch."""
