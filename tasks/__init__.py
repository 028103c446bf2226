"""The face: Invoke only here. One module a namespace."""

from invoke.collection import Collection

from tasks import boxes, images, release, runners
from tasks.doctor import doctor
from tasks.settings import settings
from tasks.test import test

ns = Collection(boxes, images, release, runners, doctor, settings, test)
