"""Azure as a cloud: images are versions in a Compute Gallery, machines are virtual machines."""
