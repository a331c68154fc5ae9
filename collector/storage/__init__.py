"""PostgreSQL: how rows get in (writer), come out (reader), and how the database itself is run and shaped."""
