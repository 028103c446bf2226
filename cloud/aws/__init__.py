"""AWS as a cloud: images are AMIs, machines are EC2 instances.

What is imported here loads no SDK; `cloud.connect` opens the cloud itself, in `cloud.py`.
"""
