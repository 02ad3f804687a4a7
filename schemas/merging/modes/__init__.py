"""Rows of tables that keep more than the newest row: soft deletes, logs, versions (`model.modes` has their columns).

A change takes this way:

    decoded_rows      a decoded block, in the shape of the table's mode
    at_commit         which rows need what the target holds of their keys, and how they are completed in the commit
    current_rows      how the target's rows are looked up there
    versions          scd2: the changes of a commit among the versions that are there
    version_timeline  the order of a key's versions and their ends
    version_rows      the rows that bring the target's versions in line
"""
