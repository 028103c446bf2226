"""The machine at hand as a cloud: images are files, machines are QEMU processes.

`cloud.connect` opens the cloud itself, in `cloud.py`.
"""
