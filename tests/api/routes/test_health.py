import pytest

from api.routes.status import DRAINING


@pytest.mark.parametrize(("path", "status"), [("live", "live"), ("ready", "ready")])
def test_a_loaded_service_is_live_and_ready(client, path, status):
    response = client.get(f"/health/{path}")
    assert response.status_code == 200
    assert response.json == {"status": status}


def test_a_stopping_server_is_live_but_not_ready(client):
    environ = {DRAINING: True}
    assert client.get("/health/live", environ_overrides=environ).status_code == 200
    response = client.get("/health/ready", environ_overrides=environ)
    assert response.status_code == 503
    assert response.json == {"status": "stopping"}
