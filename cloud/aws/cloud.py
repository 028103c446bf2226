"""An account on AWS, with what a cloud can do."""

from __future__ import annotations

from collections.abc import Sequence

import platformdirs

from cloud.aws import copying, rights, sharing
from cloud.aws.catalogue import Catalogue
from cloud.aws.fleet import AwsFleet
from cloud.aws.images import AwsImages
from cloud.aws.quota import Quotas
from cloud.aws.runner_network import AwsNetwork
from cloud.aws.session import Session
from cloud.aws.settings import AwsSettings
from cloud.aws.sharing import Audience
from cloud.base import Image, Quota
from cloud.caller import CallerSettings
from cloud.progress import Progress
from cloud.work import Work


class AwsCloud:
    """An account's EC2 in one region."""

    name = "aws"

    def __init__(self, settings: AwsSettings, us: CallerSettings) -> None:
        self.region = settings.region
        self._session = Session(settings.region, settings.timeout)
        self._settings = settings
        work = Work(platformdirs.user_data_path("kontain") / "aws" / "builds")
        self.images = AwsImages(self._session, settings, us, work)
        catalogue = Catalogue(self._session, settings)
        self.network = AwsNetwork(self._session, settings)
        self.machines = AwsFleet(self._session, settings, us, work, catalogue, self.network)
        self._quotas = Quotas(self._session, catalogue)

    def quotas(self, size: str) -> Sequence[Quota]:
        """The limit of on-demand processors in the region."""
        return self._quotas.of(size)

    def audience(self, image: Image) -> Audience:
        """Who may use an image besides the account. Raises as `sharing.audience`."""
        return sharing.audience(self._session, image)

    def share(self, image: Image, audience: Audience) -> None:
        """Let them use it, too; nothing is taken away. Raises as `sharing.share`."""
        sharing.share(self._session, image, audience)

    def copy_to(self, other: AwsCloud, image: Image, progress: Progress) -> Image:
        """The same build in another region: one that is there, or a copy. Raises as `copying.copy`."""
        return copying.copy(self._session, other._session, other._settings, image, progress)

    def check(self) -> str:
        """Who we are, and whether we may do what builds and runners do."""
        told = self._session.call("sts", "get_caller_identity")
        rights.check(self._session)
        return f"{told['Arn']} in {self._session.region}"
