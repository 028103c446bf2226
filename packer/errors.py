"""What only building an image can raise. The tree is drawn in `cloud/errors.py`.

KitError
├── BuildFailed     1   packer ended without an image
│   └── Stalled     1   the VM went silent; under emulation that happens, and once more helps
└── ProofFailed     1   the image was built and booted, and is not what it must be
"""

from __future__ import annotations

from cloud.errors import KitError


class BuildFailed(KitError):
    """Packer ended without an image."""


class Stalled(BuildFailed):
    """The VM of a build did not answer, or stopped answering."""


class ProofFailed(KitError):
    """The image that was built is not what it must be. It will not be promoted."""
