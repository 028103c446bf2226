"""From a definition to a proven, promoted image."""
