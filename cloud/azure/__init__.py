"""Azure as a cloud: images are versions in a Compute Gallery, machines are VMs in resource groups of their own.

What is imported here loads no SDK; `cloud.connect` opens the cloud itself, in `cloud.py`.
"""
