"""AWS as a cloud: images are AMIs, machines are EC2 instances."""
