import pytest


@pytest.mark.parametrize(
    "path", ["/", "/swagger.json", "/model/metadata", "/model/predict", "/nope", "/metrics"]
)
def test_every_answer_tells_browsers_to_be_careful(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_swagger_ui_may_run_its_script_and_call_the_service(client):
    page = client.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-inline'" in policy
    assert "connect-src 'self'" in policy
    assert "//" not in policy
    assert 'src="/swaggerui/' in page.text
    assert "http://" not in page.text.replace("http://www.w3.org/", "")


def test_a_page_may_have_a_policy_of_its_own(app):
    policy = {"Content-Security-Policy": "default-src 'self'"}
    app.add_url_rule("/own", view_func=lambda: ("", 200, policy))
    headers = app.test_client().get("/own").headers
    assert headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
