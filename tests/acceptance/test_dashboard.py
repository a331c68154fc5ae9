"""The dashboard in a real browser: the API, the database and the simulator are real; the tests are in dashboard/e2e."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.acceptance.browser import CALM, DASHBOARD, MARKUP, ROOMY, Rig, Weather, browser, handles
from tests.acceptance.conftest import simulator
from tests.acceptance.program import Program, wait_until
from tests.faults.proxy import ToxicProxy

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]
ADDRESS = re.compile(r"data API: (http://127\.0\.0\.1:\d+)/docs")
# In this order: the last ones leave a database behind that is of no use to others.
TOPICS = ("pages", "looks", "keyboard", "speed", "memory", "outage", "database", "stale")


def missing():
    """Return why the tests cannot run here, with the command that helps; None when they can."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are missing: apt-get install nodejs npm"
    if not (DASHBOARD / "node_modules" / "playwright-core").is_dir():
        return "the packages of the dashboard are missing: (cd dashboard && npm ci)"
    if browser() is None:
        return "no Chromium was found: apt-get install chromium, or name one in CHROMIUM"
    return None


@pytest.fixture(scope="module")
def rig(cluster, tmp_path_factory):
    """A running collector and API on calm settings; (environment of the browser tests)."""
    if reason := missing():
        pytest.skip(reason)
    weather = Weather()
    direct = cluster.create_database()
    with simulator(interceptor=weather) as venues, ToxicProxy(direct) as proxy:
        program = Program(
            tmp_path_factory.mktemp("dashboard"), addresses=venues.base_urls, url=direct, settings=CALM, **ROOMY
        )
        own = Rig(program, weather, proxy)
        own.collector_starts()
        own.analyse()
        with program.running(
            "api", COLLECTOR_API__ENABLED="true", COLLECTOR_API__PORT="0", COLLECTOR_DATABASE__URL=proxy.url
        ) as api:
            told = wait_until(lambda: ADDRESS.search(api.err), "the API is up")
            with handles(own) as address:
                yield {"DASHBOARD": told[1], "RIG": address, "CHROMIUM": browser(), "MARKUP": MARKUP}
            own.close()
            assert "Traceback" not in api.err
            assert api.stop() == 0
    cluster.drop(direct)


@pytest.mark.parametrize("topic", TOPICS)
def test_the_dashboard_in_a_browser(rig, topic):
    done = subprocess.run(
        ["npm", "run", "--silent", "e2e", "--", topic],
        cwd=DASHBOARD,
        env={**os.environ, **rig, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        check=False,
    )
    sys.stdout.write(done.stdout)  # what was measured: pytest -rP shows it
    assert done.returncode == 0, done.stdout[-6000:]
