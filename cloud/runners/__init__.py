"""Runner VMs over any cloud: start, stop, resume, reap. The cloud is the database: no file remembers anything.

What decides (`plan`, `verdict`, `due`) looks and changes nothing; what acts (`start`, `stop`, `reap`) does what was
decided. A VM and its entry at GitHub do not wait for each other, and the VM goes last: as long as it is there,
`stop` and `reap` find by its tags what else belongs to it.
"""

from cloud.runners.keeping import extend, resume
from cloud.runners.people import find, keys
from cloud.runners.reaping import Due, due, expires, orphans, reap
from cloud.runners.starting import NotReady, Plan, Started, Wanted, plan, start
from cloud.runners.stopping import Stopped, of_run, stop, verdict

__all__ = [
    "Due",
    "NotReady",
    "Plan",
    "Started",
    "Stopped",
    "Wanted",
    "due",
    "expires",
    "extend",
    "find",
    "keys",
    "of_run",
    "orphans",
    "plan",
    "reap",
    "resume",
    "start",
    "stop",
    "verdict",
]
