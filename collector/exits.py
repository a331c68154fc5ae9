"""The exit codes, which service files and documents name too."""

OK = 0
NOT_ALL_WELL = 1  # a cycle that was not ok, or a database that is away: try again
USAGE = 2  # wrong words or settings; every error that a person can mend
LOCKED = 3  # another collector works on the database
DEFECT = 70
