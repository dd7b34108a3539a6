"""The interface's page in a browser: Swagger UI draws it, from this server alone."""

import pytest

from tests.support.servers import Server

from .conftest import Looking

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("api")
def test_the_interface_is_browsable_without_any_other_origin(looking: Looking, server: Server) -> None:
    """Every operation is drawn, one can be tried, and nothing was asked of anyone else."""
    page = looking.page
    page.goto(f"{server.url}/docs")
    page.locator(".opblock").nth(20).wait_for()
    page.locator("a", has_text="asyncapi.json").wait_for()
    operation = page.locator(".opblock", has_text="/v1/models").first
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    operation.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    assert {origin for origin in looking.origins if not origin.startswith("data:")} == {server.url}
