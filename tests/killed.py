"""A command that is killed at one of the changes that it makes to the store: the first argument says at which."""

KILLED_AT = """\
import os, signal, sys

left = int(sys.argv.pop(1))
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}

def hook(event, arguments):
    global left
    if event in CHANGES or event == "open" and arguments[2] is not None and arguments[2] & os.O_CREAT:
        if any("store" in str(each) for each in arguments):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
"""

COMMAND = f"{KILLED_AT}\nfrom tasks.__main__ import main\nmain()"
