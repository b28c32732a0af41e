"""scenario → POST to the REST door."""

import json
from typing import Any

from geventhttpclient import HTTPClient

from loadtests.budgets import Door
from loadtests.scenarios import Scenario
from loadtests.user import TIMEOUT_S, DoorUser


class RefusedError(Exception):
    """A status other than 200."""


class RestUser(DoorUser):
    """Keeps one connection to `host`, an http address."""

    abstract = True
    door = Door.REST

    def on_start(self) -> None:
        super().on_start()
        self.client = HTTPClient.from_url(self.host, network_timeout=TIMEOUT_S)

    def on_stop(self) -> None:
        self.client.close()

    def send(self, scenario: Scenario) -> Any:
        headers = {"Content-Type": scenario.content_type}
        response = self.client.post(scenario.path, scenario.body, headers)
        content = bytes(response.read())
        if response.status_code != 200:
            raise RefusedError(f"{response.status_code} {content[:200].decode(errors='replace')}")
        return json.loads(content)
