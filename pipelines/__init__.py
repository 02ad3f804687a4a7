"""Jobs: the job file, the wiring of steps, and the command line."""
