"""Where things lie inside the image."""

from typing import Final

HOME: Final = "/opt/millrace/job"
"""Where the image looks for the job; relative paths of the job file start here."""


JOB_FILE: Final = f"{HOME}/job.yaml"


USER_HOME: Final = "/home/millrace"
