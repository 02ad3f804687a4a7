"""`python -m millrace.pipelines`: the command line."""

import sys

from .cli import main

sys.exit(main())
