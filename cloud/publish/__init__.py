"""Boxes to the place where `vagrant box add` finds them: a registry, or a catalog of our own."""
