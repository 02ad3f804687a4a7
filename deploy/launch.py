"""The file that a Flex Template's launcher runs, named by FLEX_TEMPLATE_PYTHON_PY_FILE."""

import sys

from millrace.pipelines.cli.launch_template import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
