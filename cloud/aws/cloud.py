"""An account on AWS, with what a cloud can do."""

from __future__ import annotations

import platformdirs

from cloud.aws.images import AwsImages
from cloud.aws.machines import AwsMachines
from cloud.aws.session import AwsError, Session
from cloud.aws.settings import AwsSettings
from cloud.caller import CallerSettings
from cloud.errors import KitError
from cloud.work import Work


class AwsCloud:
    """An account's EC2 in one region."""

    name = "aws"

    def __init__(self, settings: AwsSettings, us: CallerSettings) -> None:
        self._session = Session(settings.region)
        work = Work(platformdirs.user_data_path("kontain") / "aws" / "builds")
        self.images = AwsImages(self._session, settings, us, work)
        self.machines = AwsMachines(self._session, settings, us, work)

    def check(self) -> str:
        """Who we are, and whether we may do the first things of a build: EC2 is asked without doing them."""
        told = self._session.call("sts", "get_caller_identity")
        for operation, arguments in (
            ("describe_images", {"Owners": ["self"]}),
            ("create_security_group", {"GroupName": "km-doctor", "Description": "never made"}),
        ):
            try:
                self._session.call("ec2", operation, DryRun=True, **arguments)
            except AwsError as error:
                if error.code != "DryRunOperation":
                    raise KitError(error.message, hint="./inv doctor --cloud aws again") from error
        return f"{told['Arn']} in {self._session.region}"
