"""Running a job: bounded passes, or one stream."""
