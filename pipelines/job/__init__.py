"""The job file: its model, and how it is read."""
