"""Images, boxes and runners of Kontain's CI. ./inv --list shows what there is, --help NAME how."""

import sys
from importlib import import_module
from importlib.util import find_spec

if any(find_spec(name) is None for name in ("msgspec", "platformdirs", "filelock")):
    sys.exit("error: the toolkit's dependencies are not installed for this inv\nhint: run ./inv, which brings them")

# Invoke finds this file before the package of the same name. It steps aside for it.
del sys.modules["tasks"]
ns = import_module("tasks").ns
