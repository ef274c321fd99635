"""Manifests for jobs on several machines: valid, and agreed with each other and the settings."""

import re

import kubernetes_validate
import pytest
import yaml

from config import ROOT, Settings
from jobs.__main__ import main
from jobs.cluster.ledger import PREFIX
from tests.test_manifests import (
    CUSTOM,
    KUBERNETES,
    NAME,
    quantity,
    rendered_documents,
    settings_of,
)


@pytest.fixture(scope="module", params=["cluster", "complete"])
def rendered(request):
    """What `kubectl apply -k` would send, by kind and name."""
    found = rendered_documents(request.param)
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def pod(rendered, kind, name):
    return rendered[kind, name]["spec"]["template"]["spec"]


def test_the_overlay_renders_to_what_kubernetes_expects(rendered):
    for version in (KUBERNETES, kubernetes_validate.latest_version()):
        for (kind, _name), document in rendered.items():
            assert document["metadata"]["namespace"] == "enhancer"
            if kind not in CUSTOM:
                kubernetes_validate.validate(document, version, strict=True)


def test_servers_and_workers_have_one_queue_and_storage(rendered):
    (server,) = pod(rendered, "Deployment", "max-image-resolution-enhancer")["containers"]
    (worker,) = pod(rendered, "Deployment", "enhancer-worker")["containers"]
    assert settings_of(server).queue_url == settings_of(worker).queue_url != ""
    assert server["envFrom"] == worker["envFrom"]
    assert server["image"] == worker["image"]


def test_the_queue_is_where_redis_is(rendered):
    service = rendered["Service", "enhancer-redis"]["spec"]
    redis = rendered["StatefulSet", "enhancer-redis"]["spec"]["template"]
    (worker,) = pod(rendered, "Deployment", "enhancer-worker")["containers"]
    assert settings_of(worker).queue_url == "redis://enhancer-redis:6379/0"
    assert service["selector"] == redis["metadata"]["labels"]
    assert service["ports"][0]["port"] == 6379


def test_workers_are_scaled_by_what_is_left_to_do(rendered):
    spec = rendered["ScaledObject", "enhancer-worker"]["spec"]
    (trigger,) = spec["triggers"]
    assert spec["scaleTargetRef"]["name"] == "enhancer-worker"
    assert trigger["metadata"]["listName"] == f"{PREFIX}:work"
    assert trigger["metadata"]["address"] == "enhancer-redis.enhancer.svc:6379"
    assert ("HorizontalPodAutoscaler", "enhancer-worker") not in rendered


def test_prometheus_reaches_the_metrics_of_workers(rendered):
    worker = rendered["Deployment", "enhancer-worker"]
    (container,) = pod(rendered, "Deployment", "enhancer-worker")["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == settings_of(container).worker_metrics_port > 0
    annotations = worker["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    (rule,) = rendered["NetworkPolicy", "enhancer-worker"]["spec"]["ingress"]
    assert [opened["port"] for opened in rule["ports"]] == [port["name"]]
    monitor = rendered.get(("PodMonitor", "enhancer-worker"))
    assert (monitor is None) == (("PodMonitor", NAME) not in rendered)
    if monitor is not None:
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] == port["name"]
        labels = worker["spec"]["template"]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"] == labels


def test_servers_and_workers_reach_redis(rendered):
    policy = rendered["NetworkPolicy", "enhancer-jobs"]["spec"]
    redis = rendered["StatefulSet", "enhancer-redis"]["spec"]["template"]["metadata"]["labels"]
    (expression,) = policy["podSelector"]["matchExpressions"]
    assert set(expression["values"]) == {NAME, "enhancer-worker"}
    first = policy["egress"][0]
    assert first["to"] == [{"podSelector": {"matchLabels": redis}}]
    assert [opened["port"] for opened in first["ports"]] == ["redis"]


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "enhancer-worker"), ("StatefulSet", "enhancer-redis")]
)
def test_nobody_is_allowed_what_he_does_not_need(rendered, kind, name):
    spec = pod(rendered, kind, name)
    context = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_a_worker_has_the_time_to_finish_or_hand_back(rendered):
    spec = pod(rendered, "Deployment", "enhancer-worker")
    stop_s = settings_of(spec["containers"][0]).graceful_timeout_s
    assert spec["terminationGracePeriodSeconds"] >= stop_s + 10


def test_redis_is_the_same_everywhere_and_pinned(rendered, compose):
    (redis,) = pod(rendered, "StatefulSet", "enhancer-redis")["containers"]
    assert redis["image"] == compose["services"]["redis"]["image"]
    assert re.fullmatch(r"redis:7-alpine@sha256:[0-9a-f]{64}", redis["image"])


def test_redis_writes_down_what_it_is_told(rendered, compose):
    (redis,) = pod(rendered, "StatefulSet", "enhancer-redis")["containers"]
    for words in (redis["args"], compose["services"]["redis"]["command"]):
        assert words[words.index("--appendfsync") + 1] == "always"
        assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
        megabytes = int(words[words.index("--maxmemory") + 1].removesuffix("mb"))
        assert 2 * megabytes * 1024**2 <= quantity(redis["resources"]["limits"]["memory"])


def test_the_composed_cluster_is_there_when_it_is_asked_for(compose):
    services = compose["services"]
    asked = {name for name, service in services.items() if service.get("profiles") == ["cluster"]}
    assert asked == {"worker", "redis"}
    assert services["worker"]["deploy"]["replicas"] == 2
    worker = Settings.from_env(services["worker"]["environment"])
    server = services["enhancer"]["environment"]
    assert (worker.queue_url, worker.storage_url) == (
        "redis://redis:6379/0",
        server["ENHANCER_STORAGE_URL"],
    )
    places = {volume.partition(":")[2] for volume in services["worker"]["volumes"]}
    assert worker.storage_url in places


def test_commands_of_the_manifests_are_those_there_are(rendered, compose, tmp_path):
    (worker,) = pod(rendered, "Deployment", "enhancer-worker")["containers"]
    assert worker["command"] == compose["services"]["worker"]["command"]
    health = worker["livenessProbe"]["exec"]["command"]
    assert health == compose["services"]["worker"]["healthcheck"]["test"][1:]
    assert health[:3] == ["python", "-m", "jobs"]
    sign = tmp_path / "alive"
    assert main([health[3], "--sign", str(sign)]) == 1
    sign.touch()
    assert main([health[3], "--sign", str(sign)]) == 0
