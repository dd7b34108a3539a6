"""The page of a session with particles: what its beliefs say of themselves, and bands that are quantiles."""

import httpx
import numpy as np
import pytest

from tests.support import pages
from tests.support.pages import Looking
from tests.support.servers import Server

pytestmark = pytest.mark.slow


def test_particles_and_evidence_of_a_session_are_shown(looking: Looking, server: Server, api: httpx.Client) -> None:
    """The facts are those of the interface; the chart says them in words, and the strips their quantiles' bands."""
    options = {"model": "numbers", "seed": 1, "particles": 8}
    session = api.post("/v1/sessions", json=options).raise_for_status().json()
    xs = np.random.default_rng(0).normal(size=(12, 3)).tolist()
    body = {"seq": 1, "observations": xs}
    told = api.post(f"/v1/sessions/{session['id']}/steps", json=body).raise_for_status().json()["estimates"][-1]
    looking.page.goto(f"{server.url}/#/session/{session['id']}")
    pages.reached(looking, 12)
    fact = "(name) => document.querySelector(`[data-fact=${name}]`).textContent"
    assert looking.page.evaluate(fact, "bound") == f"{told['evidence_bound']:.2f}"
    assert looking.page.evaluate(fact, "particles").endswith(" of 8")
    assert float(looking.page.evaluate(fact, "particles").split()[0]) == pytest.approx(
        told["effective_sample_size"], abs=0.01
    )
    described = "(pattern) => RegExp(pattern).test(document.querySelector('[data-chart=evidence] canvas').ariaLabel)"
    looking.page.wait_for_function(described, arg=r"^Evidence bound of 12 steps: mean -?[\d.]+ nats; [\d.]+ particles")
    assert "25 to 75 %" in looking.page.inner_text("[data-chart=form]")
