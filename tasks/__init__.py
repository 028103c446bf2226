"""The face: Invoke only here. One module a namespace."""

from invoke.collection import Collection

from tasks import images

ns = Collection(images)
