"""What an installed Millrace can do where nothing else is: import each module, run each job file that is named.

Run with the Python of a fresh environment, which has neither the tests nor their libraries. Prints one line of JSON:
the modules that cannot be imported, with what is missing: the name of a library, or the sentence of MissingExtraError.
"""

import importlib
import json
import os
import pkgutil
import re
import sys

import millrace
from millrace.pipelines.cli.main import main
from millrace.schemas.errors import MissingExtraError


def unimportable() -> dict[str, str]:
    """What is missing, by module; any other error is raised."""
    found = {}
    for module in pkgutil.walk_packages(millrace.__path__, "millrace.", onerror=lambda name: None):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except MissingExtraError as missing:
            found[module.name] = str(missing)
        except ModuleNotFoundError as missing:
            found[module.name] = str(missing.name)
        except ImportError as missing:
            # A part of a namespace package that another extra brings: `from google.cloud import bigquery`.
            part = re.search(r"cannot import name '(\w+)'", str(missing))
            if missing.name is None or part is None:
                raise
            found[module.name] = f"{missing.name}.{part[1]}"
    return found


def play(file: str) -> None:
    """Changes into a topic, from there into the target, and the proof."""
    for words in (["produce", file, "--changes", "400", "--keys", "50"], ["run", file, "--once"], ["verify", file]):
        status = main(words)
        if status:
            sys.exit(f"millrace {' '.join(words)} ends with {status}")


if __name__ == "__main__":
    print(json.dumps(unimportable()), flush=True)
    for file in sys.argv[1:]:
        play(file)
    # As the command ends: the interpreter is not taken apart while threads of libraries are at work.
    sys.stdout.flush()
    os._exit(0)
